package es

import "testing"

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		status int
		kind   string
		want   verdict
	}{
		{200, "", delivered},
		{201, "", delivered},
		{409, "version_conflict_engine_exception", delivered},
		{409, "", again},
		{409, "resource_already_exists_exception", again},
		{429, "es_rejected_execution_exception", again},
		{429, "cluster_block_exception", again}, // disk flood stage
		{429, "circuit_breaking_exception", again},
		{403, "cluster_block_exception", again},
		{403, "index_closed_exception", again},
		{403, "security_exception", again},
		{401, "security_exception", again},
		{408, "", again},
		{500, "exception", again},
		{503, "unavailable_shards_exception", again},
		{504, "", again},
		{400, "index_closed_exception", again},
		{400, "validation_exception", again}, // too many shards in the cluster
		{302, "", again},
		{100, "", again},
		{600, "", again},
		{400, "mapper_parsing_exception", never},
		{400, "document_parsing_exception", never},
		{400, "strict_dynamic_mapping_exception", never},
		{400, "illegal_argument_exception", never},
		{400, "invalid_index_name_exception", never},
		{404, "index_not_found_exception", again},
		{413, "", never},
		{400, "", never},
	} {
		if got := judge(itemAnswer{status: c.status, kind: c.kind}); got != c.want {
			t.Errorf("%d %s is judged %d, want %d", c.status, c.kind, got, c.want)
		}
	}
}
