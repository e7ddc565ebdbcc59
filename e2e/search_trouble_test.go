package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/delivery"
)

// TestSearchInTrouble has one node that refuses, stops answering and goes away.
func TestSearchInTrouble(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.Elasticsearch9, esnode.Options{Settings: map[string]string{"http.max_content_length": "300kb"}})
	settings := impatient()
	settings["HYDRANT_ES_TIMEOUT"] = "3s" // for the node that does not answer
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: settings})
	t.Run("requests too large", func(t *testing.T) { requestsTooLarge(t, d, node) })
	t.Run("read-only", func(t *testing.T) { readOnly(t, d, node) })
	t.Run("paused", func(t *testing.T) { pausedNode(t, d, node) })
	t.Run("no ids", func(t *testing.T) { withoutIDs(t, d, node) })
	t.Run("gone", func(t *testing.T) { goneForTooLong(t, d, node) })
}

// awaitLogged waits for an entry of a code in a delivery stream's error log.
func awaitLogged(t *testing.T, d *deploy.Deployment, name, code string) delivery.LogEntry {
	t.Helper()
	log := readErrors(t, d, name)
	deploy.Eventually(t, "the error log has "+code, func() bool { return log.has(code) })
	return log.entries[code]
}

// requestsTooLarge has a node that takes 300 kB. Elasticsearch 9 answers with 413 or, as often, breaks the connection.
func requestsTooLarge(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	createSearch(t, d, searchTo(node.URL, "large", 600))
	ids := putAll(t, d, "large", numbered(0, 1000, 2000))
	wantIndexed(t, node.Client(), "large", ids)
	wantNothingSetAside(t, d, "large")
}

func readOnly(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	client := node.Client()
	must(t, client.CreateIndex(t.Context(), "blocked", nil))
	must(t, client.BlockWrites(t.Context(), "blocked", true))
	createSearch(t, d, searchTo(node.URL, "blocked", 600))
	ids := putAll(t, d, "blocked", numbered(0, 1000, 50))
	if entry := awaitLogged(t, d, "blocked", "ES.Blocked"); !strings.Contains(entry.Detail, "cluster_block_exception") {
		t.Errorf("the error log has %+v", entry)
	}
	must(t, client.BlockWrites(t.Context(), "blocked", false))
	wantIndexed(t, client, "blocked", ids)
	wantNothingSetAside(t, d, "blocked")
}

// pausedNode stops answering, with requests on their way.
func pausedNode(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	createSearch(t, d, searchTo(node.URL, "paused", 600))
	ids := putAll(t, d, "paused", numbered(0, 500, 50))
	wantIndexed(t, node.Client(), "paused", ids)
	must(t, node.Pause())
	ids = append(ids, putAll(t, d, "paused", numbered(500, 5000, 200))...)
	awaitLogged(t, d, "paused", "ES.ConnectionFailed")
	must(t, node.Resume())
	wantIndexed(t, node.Client(), "paused", ids)
	wantNothingSetAside(t, d, "paused")
}

// withoutIDs lets the server make the ids.
func withoutIDs(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	to := searchTo(node.URL, "anonymous", 300)
	to.DocumentIdOptions = &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatNoDocumentId}
	createSearch(t, d, to)
	putAll(t, d, "anonymous", numbered(0, 500, 50))
	deploy.Eventually(t, "500 documents are there", func() bool {
		count, err := node.Client().Count(t.Context(), "anonymous")
		return err == nil && count == 500
	})
	for document, err := range node.Client().IDs(t.Context(), "anonymous") {
		must(t, err)
		if strings.HasPrefix(document.ID, "h1-") {
			t.Fatalf("a document has the id %s", document.ID)
		}
	}
}

// goneForTooLong is away until everything is set aside. What comes later is delivered again.
func goneForTooLong(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	createSearch(t, d, searchTo(node.URL, "gone", 2))
	node.Kill()
	data := numbered(0, 5000, 200)
	ids := putAll(t, d, "gone", data)
	lines := wantSetAside(t, d, "gone", ids, data)
	for _, line := range lines {
		if line.Code != "ES.ConnectionFailed" || line.Attempts < 1 || line.Index != "gone" {
			t.Fatalf("set aside as %+v", line)
		}
	}
	wantLogged(t, d, "gone", len(ids))
	wantStatus(t, d, "gone", 0, len(ids))
	node.Restart()
	wantIndexed(t, node.Client(), "gone", putAll(t, d, "gone", numbered(5000, 500, 50)))
}

// TestSearchWithoutExplicitIndex has a node that does not let documents name their index.
func TestSearchWithoutExplicitIndex(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.OpenSearch3, esnode.Options{Settings: map[string]string{"rest.action.multi.allow_explicit_index": "false"}})
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: impatient()})
	createSearch(t, d, searchTo(node.URL, "explicit", 2))
	data := numbered(0, 100, 50)
	ids := putAll(t, d, "explicit", data)
	if entry := awaitLogged(t, d, "explicit", "ES.ExplicitIndexNotAllowed"); !strings.Contains(entry.Message, "rest.action.multi.allow_explicit_index") {
		t.Errorf("the error log has %+v", entry)
	}
	wantSetAside(t, d, "explicit", ids, data)
}

// TestSearchDataStream delivers to a data stream, which takes documents with a time stamp alone.
func TestSearchDataStream(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.OpenSearch3, esnode.Options{})
	must(t, node.Client().PutIndexTemplate(t.Context(), "logs", map[string]any{"index_patterns": []string{"logs*"}, "data_stream": map[string]any{}}))
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: impatient()})
	createSearch(t, d, searchTo(node.URL, "logs", 300))
	good := stamped(0, 500)
	ids := putAll(t, d, "logs", good)
	bad := []string{`{"n":1}`}
	badIDs := putAll(t, d, "logs", bad)
	wantIndexed(t, node.Client(), "logs", ids)
	wantSetAside(t, d, "logs", badIDs, bad)
	t.Run("rolled over", func(t *testing.T) { rolledOver(t, d, node, "logs", ids[0], good[0]) })
	t.Run("another one", func(t *testing.T) { formerStream(t, d, node) })
}

// stamped are documents that a data stream takes.
func stamped(from, n int) []string {
	data := make([]string, n)
	for i := range data {
		data[i] = fmt.Sprintf(`{"@timestamp":%d,"n":%d}`, 1_700_000_000_000+from+i, from+i)
	}
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
