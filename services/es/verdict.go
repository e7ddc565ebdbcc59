package es

import "net/http"

// verdict is what an answer means for a document.
type verdict int

const (
	again     verdict = iota // it may be indexed later: it is sent again, for the retry duration
	delivered                // it is in the index
	never                    // the server will not take it as it is: it is set aside at once
)

// judge reads the answer for one document. This is the place where answers are classified.
//
//	200, 201                             delivered
//	409 version_conflict_engine_exception delivered already: the id is the record's, and the action create
//	429, 5xx, 408                        again: the server is busy, or not whole
//	401, 403                             again: a block (read-only, disk full) or a missing permission, which somebody lifts
//	index_closed_exception,              again: about the index or the cluster (too many shards, an index that is not there
//	validation_exception,                and may not be made), not about the document, though the status is 400 or 404
//	index_not_found_exception
//	400 and other 4xx                    never: mapping, parsing
//	anything else                        again, since nothing is known
func judge(a itemAnswer) verdict {
	switch {
	case a.status == http.StatusOK, a.status == http.StatusCreated:
		return delivered
	case a.status == http.StatusConflict && a.kind == "version_conflict_engine_exception":
		return delivered
	}
	switch a.kind {
	case "cluster_block_exception", "index_closed_exception", "index_not_found_exception", "validation_exception", "security_exception",
		"es_rejected_execution_exception", "rejected_execution_exception", "circuit_breaking_exception":
		return again
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return again
	}
	if a.status >= 400 && a.status < 500 {
		return never
	}
	return again
}

// busy tells the answers that say the server has more to do than it can. That an index is blocked since a disk is nearly full has
// the same status, and says nothing of it: smaller requests do not help.
func busy(a itemAnswer) bool {
	return a.status == http.StatusTooManyRequests && a.kind != "cluster_block_exception"
}
