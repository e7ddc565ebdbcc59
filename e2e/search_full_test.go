package e2e

import (
	"net/http"
	"strings"
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
)

// readOnlyCluster takes no writes to any index, and makes none.
func readOnlyCluster(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	client := node.Client()
	must(t, client.CreateIndex(t.Context(), "read-only", nil))
	persist(t, client, map[string]any{"cluster.blocks.read_only": true})
	put := map[string][]string{}
	for _, name := range []string{"read-only", "read-only-new"} {
		createSearch(t, d, searchTo(node.URL, name, 600))
		put[name] = putAll(t, d, name, numbered(0, 500, 50))
	}
	for name := range put {
		if entry := awaitLogged(t, d, name, "ES.Blocked"); !strings.Contains(entry.Detail, "cluster read-only (api)") {
			t.Errorf("the error log has %+v", entry)
		}
	}
	persist(t, client, map[string]any{"cluster.blocks.read_only": nil})
	for name, ids := range put {
		wantIndexed(t, client, name, ids)
		wantNothingSetAside(t, d, name)
	}
}

// fullNode has a node that takes its disk for full: it makes each index read-only by itself, and lifts that by itself.
func fullNode(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	client := node.Client()
	for name, retrySeconds := range map[string]int32{"full": 600, "full-for-too-long": 2} {
		must(t, client.CreateIndex(t.Context(), name, nil))
		createSearch(t, d, searchTo(node.URL, name, retrySeconds))
	}
	createSearch(t, d, searchTo(node.URL, "full-new", 600))
	wantFree(t, client, "3pb", "2pb", "1pb")
	awaitBlock(t, client, true, "full", "full-for-too-long")

	data := numbered(0, 500, 50)
	waiting, lost, fresh := putAll(t, d, "full", data), putAll(t, d, "full-for-too-long", data), putAll(t, d, "full-new", data)
	entry := awaitLogged(t, d, "full", "ES.Blocked")
	if !strings.Contains(entry.Detail, "flood-stage") || !strings.Contains(entry.Message, "disk is nearly full") {
		t.Errorf("the error log has %+v", entry)
	}
	inItsWords := 0 // a request may have been the last of its documents, and got no answer
	for _, line := range wantSetAside(t, d, "full-for-too-long", lost, data) {
		if line.Code == "429" && strings.Contains(line.Message, "flood-stage") && line.Attempts > 0 {
			inItsWords++
		}
	}
	if inItsWords == 0 {
		t.Errorf("no document is set aside since the disk is full: %+v", failedLines(t, d, "full-for-too-long"))
	}
	if entry := awaitLogged(t, d, "full-for-too-long", "ES.DocumentsFailed"); !strings.Contains(entry.Detail, "flood-stage") {
		t.Errorf("the error log has %+v", entry)
	}

	wantFree(t, client, "3mb", "2mb", "1mb")
	awaitBlock(t, client, false, "full", "full-for-too-long")
	wantIndexed(t, client, "full", waiting)
	wantIndexed(t, client, "full-new", fresh)
	wantNothingSetAside(t, d, "full")
	wantNothingSetAside(t, d, "full-new")
	wantStatus(t, d, "full-for-too-long", 0, len(lost))
}

// wantFree sets how much of the disk has to be free for a node to have no worries, to give up none of its shards, and to let
// its indices be written to.
func wantFree(t *testing.T, client *esnode.Client, low, high, flood string) {
	t.Helper()
	const disk = "cluster.routing.allocation.disk."
	persist(t, client, map[string]any{
		disk + "threshold_enabled": true, disk + "watermark.low": low, disk + "watermark.high": high, disk + "watermark.flood_stage": flood,
	})
}

// persist changes settings of the cluster that stay when it is restarted; nil takes one back.
func persist(t *testing.T, client *esnode.Client, settings map[string]any) {
	t.Helper()
	must(t, client.Do(t.Context(), http.MethodPut, "/_cluster/settings", map[string]any{"persistent": settings}, nil))
}

// awaitBlock waits until the node has made indices read-only, or has lifted that.
func awaitBlock(t *testing.T, client *esnode.Client, blocked bool, indices ...string) {
	t.Helper()
	what := "the node lifts its block"
	if blocked {
		what = "the node blocks its indices"
	}
	deploy.Eventually(t, what, func() bool {
		for _, index := range indices {
			var answer map[string]struct{ Settings map[string]string }
			path := "/" + index + "/_settings/index.blocks.read_only_allow_delete?flat_settings=true"
			must(t, client.Do(t.Context(), http.MethodGet, path, nil, &answer))
			if (answer[index].Settings["index.blocks.read_only_allow_delete"] == "true") != blocked {
				return false
			}
		}
		return true
	})
}
