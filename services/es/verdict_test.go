package es

import (
	"testing"

	"hydrant/shared/delivery"
)

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

// A block says nothing of how much the server has to do, whatever its status.
func TestBusyAnswers(t *testing.T) {
	for kind, want := range map[string]bool{"es_rejected_execution_exception": true, "circuit_breaking_exception": true, "cluster_block_exception": false} {
		wantEqual(t, kind, busy(itemAnswer{status: 429, kind: kind}), want)
	}
}

// The words are those of real nodes.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		status       int
		kind, reason string
		code         string
		class        delivery.Class
	}{
		{403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];", codeBlocked, delivery.Retryable},
		{403, "", "20 of 20 documents: cluster_block_exception: index [logs] blocked by: [FORBIDDEN/8/index write (api)];", codeBlocked, delivery.Retryable},
		{429, "", "20 of 20 documents: cluster_block_exception: index [logs] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];", codeBlocked, delivery.Retryable},
		{403, "index_create_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];", codeBlocked, delivery.Retryable},
		{503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];", codeUnavailable, delivery.Retryable},
		{429, "rejected_execution_exception", "rejected execution of org.opensearch.action.bulk.TransportBulkAction$1$2@574c132b", codeThrottled, delivery.Retryable},
		{503, "", "20 of 20 documents: unavailable_shards_exception: [logs][0] primary shard is not active Timeout: [1m]", codeUnavailable, delivery.Retryable},
		{403, "security_exception", "action [indices:data/write/bulk] is unauthorized", codeAccessDenied, delivery.Permanent},
	} {
		got := describe(&refusal{status: c.status, kind: c.kind, reason: c.reason})
		if got.Code != c.code || got.Class != c.class {
			t.Errorf("%d %s %s is %s of class %v, want %s of %v", c.status, c.kind, c.reason, got.Code, got.Class, c.code, c.class)
		}
	}
}
