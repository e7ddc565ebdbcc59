package esnode_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/e2e/internal/esnode"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// The older releases start, keep what they have, and refuse as they are set to.
func TestOlderRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("the newest release of each distribution is enough for -short")
	}
	for _, version := range []esnode.Version{esnode.Elasticsearch7, esnode.Elasticsearch8, esnode.OpenSearch2} {
		t.Run(string(version), func(t *testing.T) {
			node := start(t, version, esnode.Options{Settings: map[string]string{"rest.action.multi.allow_explicit_index": "false"}})
			keeps(t, node)
			_, err := bulk(t.Context(), node.Client(), "kept", []string{`{"n":1}`})
			wantStatus(t, err, http.StatusBadRequest)
			hasDocuments(t, node, "kept", "1")
		})
	}
}

func start(t *testing.T, version esnode.Version, options esnode.Options) *esnode.Node {
	t.Helper()
	begin := time.Now()
	node := esnode.Start(t, version, options)
	t.Logf("ready after %v", time.Since(begin).Round(time.Millisecond))
	return node
}

// keeps finds that a node is what it should be, makes a document once, and has it after it was killed.
func keeps(t *testing.T, node *esnode.Node) {
	saysWhatItIs(t, node)
	create(t, node, "kept", "1")
	node.Kill()
	begin := time.Now()
	node.Restart()
	t.Logf("ready again after %v", time.Since(begin).Round(time.Millisecond))
	hasDocuments(t, node, "kept", "1")
	conflict(t, node, "kept", "1")
}

func saysWhatItIs(t *testing.T, node *esnode.Node) {
	t.Helper()
	info, err := node.Client().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	distribution := info.Version.Distribution
	if distribution == "" { // as Elasticsearch leaves it out
		distribution = "elasticsearch"
	}
	if info.Version.Number != node.Version.Number() || distribution != node.Version.Distribution() {
		t.Errorf("%s says it is %+v", node.Version, info)
	}
}

// create makes a document, and finds that it cannot be made again.
func create(t *testing.T, node *esnode.Node, index, id string) {
	t.Helper()
	if err := node.Client().Do(t.Context(), http.MethodPut, "/"+index+"/_create/"+id, map[string]any{"n": 1}, nil); err != nil {
		t.Fatal(err)
	}
	conflict(t, node, index, id)
}

func conflict(t *testing.T, node *esnode.Node, index, id string) {
	t.Helper()
	err := node.Client().Do(t.Context(), http.MethodPut, "/"+index+"/_create/"+id, map[string]any{"n": 2}, nil)
	wantStatus(t, err, http.StatusConflict)
}

func wantStatus(t *testing.T, err error, status int) {
	t.Helper()
	var got *esnode.StatusError
	if !errors.As(err, &got) || got.Status != status {
		t.Errorf("want an answer with status %d, got %v", status, err)
	}
}

func hasDocuments(t *testing.T, node *esnode.Node, pattern string, ids ...string) {
	t.Helper()
	count, err := node.Client().Count(t.Context(), pattern)
	if err != nil || count != len(ids) {
		t.Errorf("%s has %d documents, %v; want %d", pattern, count, err, len(ids))
	}
	for what, documents := range map[string]iter.Seq2[esnode.Document, error]{
		"documents": node.Client().Documents(t.Context(), pattern), "ids": node.Client().IDs(t.Context(), pattern),
	} {
		var got []string
		for document, err := range documents {
			must(t, err)
			got = append(got, document.ID)
			if (len(document.Source) > 0) != (what == "documents") || document.Version != 1 {
				t.Fatalf("%s: %+v", what, document)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, ids) {
			t.Errorf("%s has %d %s %.200v, want %d", pattern, len(got), what, got, len(ids))
		}
	}
}

// The newest release of each distribution does what the tests of a destination ask of it.
func TestNode(t *testing.T) {
	for _, version := range []esnode.Version{esnode.Elasticsearch9, esnode.OpenSearch3} {
		t.Run(string(version), func(t *testing.T) {
			node := start(t, version, esnode.Options{Settings: map[string]string{
				"http.max_content_length": "1mb", "node.processors": "1", "thread_pool.write.queue_size": "2",
			}})
			t.Run("keeps what it has", func(t *testing.T) { keeps(t, node) })
			t.Run("documents of several indices", func(t *testing.T) { manyDocuments(t, node) })
			t.Run("a template's mapping", func(t *testing.T) { mapping(t, node) })
			if version.Distribution() == "opensearch" { // Elasticsearch has data streams in a module that is not published
				t.Run("a data stream", func(t *testing.T) { dataStream(t, node) })
			}
			t.Run("blocked writes", func(t *testing.T) { blocked(t, node) })
			t.Run("too large", func(t *testing.T) { tooLarge(t, node) })
			t.Run("too busy", func(t *testing.T) { tooBusy(t, node) })
			t.Run("TLS and credentials", func(t *testing.T) { secured(t, node) })
			t.Run("paused", func(t *testing.T) { paused(t, node) })
			t.Run("stopped and started", func(t *testing.T) { stopped(t, node) })
		})
	}
}

// bulkItem is what an answer says of one document.
type bulkItem struct {
	Status int
	Error  struct{ Type, Reason string }
}

// bulk indexes documents and returns how many there were of each status.
func bulk(ctx context.Context, client *esnode.Client, index string, documents []string) (map[int]int, error) {
	var body strings.Builder
	for id, document := range documents {
		_, _ = fmt.Fprintf(&body, "{\"create\":{\"_index\":%q,\"_id\":\"%s-%05d\"}}\n%s\n", index, index, id, document)
	}
	var answer struct{ Items []map[string]bulkItem }
	if err := client.Do(ctx, http.MethodPost, "/_bulk", []byte(body.String()), &answer); err != nil {
		return nil, err
	}
	statuses := map[int]int{}
	for _, item := range answer.Items {
		statuses[item["create"].Status]++
	}
	return statuses, nil
}

func wantBulk(t *testing.T, node *esnode.Node, index string, documents []string, want map[int]int) {
	t.Helper()
	if got, err := bulk(t.Context(), node.Client(), index, documents); err != nil || !maps.Equal(got, want) {
		t.Errorf("a bulk request to %s: %v, %v; want %v", index, got, err, want)
	}
}

// There are more documents than a page has, and more ids, so that the pages after the first are read too.
func manyDocuments(t *testing.T, node *esnode.Node) {
	documents := slices.Repeat([]string{`{"n":1}`}, 2600)
	var ids []string
	for _, index := range []string{"many-a", "many-b"} {
		wantBulk(t, node, index, documents, map[int]int{201: len(documents)})
		for id := range documents {
			ids = append(ids, fmt.Sprintf("%s-%05d", index, id))
		}
	}
	hasDocuments(t, node, "many-*", ids...)
	hasDocuments(t, node, "none-*")
	_, err := node.Client().Count(t.Context(), "none")
	wantStatus(t, err, http.StatusNotFound)
	for _, err = range node.Client().Documents(t.Context(), "none") {
		wantStatus(t, err, http.StatusNotFound)
	}
	if err == nil {
		t.Error("an index that is not there has no documents, which is no error")
	}
}

func mapping(t *testing.T, node *esnode.Node) {
	client := node.Client()
	must(t, client.PutIndexTemplate(t.Context(), "numbers", map[string]any{
		"index_patterns": []string{"numbers-*"},
		"template":       map[string]any{"mappings": map[string]any{"properties": map[string]any{"n": map[string]any{"type": "integer"}}}},
	}))
	wantBulk(t, node, "numbers-1", []string{`{"n":1}`, `{"n":"many"}`, `{"n":2}`}, map[int]int{201: 2, 400: 1})
	must(t, client.PutMapping(t.Context(), "numbers-1", map[string]any{"m": map[string]any{"type": "date"}}))
	must(t, client.PutSettings(t.Context(), "numbers-1", map[string]any{"index.refresh_interval": "-1"}))
	hasDocuments(t, node, "numbers-1", "numbers-1-00000", "numbers-1-00002")
	must(t, client.DeleteIndex(t.Context(), "numbers-1"))
}

// A data stream takes documents as an index does, if the action is create, and has them in an index of its own making.
func dataStream(t *testing.T, node *esnode.Node) {
	must(t, node.Client().PutIndexTemplate(t.Context(), "logs", map[string]any{"index_patterns": []string{"logs"}, "data_stream": map[string]any{}}))
	wantBulk(t, node, "logs", []string{`{"@timestamp":1}`, `{"n":1}`}, map[int]int{201: 1, 400: 1})
	hasDocuments(t, node, "logs", "logs-00000")
	for document, err := range node.Client().IDs(t.Context(), "logs") {
		must(t, err)
		if document.Index != ".ds-logs-000001" {
			t.Errorf("it is in %s", document.Index)
		}
	}
}

func blocked(t *testing.T, node *esnode.Node) {
	client := node.Client()
	must(t, client.CreateIndex(t.Context(), "blocked", nil))
	must(t, client.BlockWrites(t.Context(), "blocked", true))
	wantBulk(t, node, "blocked", []string{`{"n":1}`}, map[int]int{403: 1})
	must(t, client.BlockWrites(t.Context(), "blocked", false))
	must(t, client.PutClusterSettings(t.Context(), map[string]any{"cluster.blocks.read_only": true}))
	if _, err := bulk(t.Context(), client, "blocked", []string{`{"n":1}`}); err == nil {
		wantBulk(t, node, "blocked", []string{`{"n":1}`}, map[int]int{403: 1})
	} else {
		wantStatus(t, err, http.StatusForbidden)
	}
	must(t, client.PutClusterSettings(t.Context(), map[string]any{"cluster.blocks.read_only": nil}))
	wantBulk(t, node, "blocked", []string{`{"n":1}`}, map[int]int{201: 1})
}

// A request that is too large is answered 413, unless the node closes the connection while the rest of it is still being
// sent, as Elasticsearch 9 does: then the client may find out nothing but that. The limit can be asked for.
func tooLarge(t *testing.T, node *esnode.Node) {
	var info struct {
		Nodes map[string]struct {
			HTTP struct {
				Limit int `json:"max_content_length_in_bytes"`
			}
		}
	}
	must(t, node.Client().Do(t.Context(), http.MethodGet, "/_nodes/http", nil, &info))
	for _, one := range info.Nodes {
		if one.HTTP.Limit != 1<<20 {
			t.Errorf("it says that its limit is %d", one.HTTP.Limit)
		}
	}
	for range 100 {
		_, err := bulk(t.Context(), node.Client(), "large", []string{`{"n":"` + strings.Repeat("x", 2<<20) + `"}`})
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			wantStatus(t, err, http.StatusRequestEntityTooLarge)
			return
		}
	}
	t.Error("none of a hundred requests was answered")
}

// tooBusy sends more bulk requests at once than the node lets wait, until it refuses documents of some, or requests as a
// whole, which OpenSearch does where an index is yet to be made. What it refused is not there.
func tooBusy(t *testing.T, node *esnode.Node) {
	client := node.Client()
	documents := slices.Repeat([]string{`{"n":1}`}, 500)
	made, refused := 0, 0
	for round := 0; refused == 0 && round < 50; round++ {
		statuses := make(chan map[int]int, 30)
		var requests sync.WaitGroup
		for request := range cap(statuses) {
			requests.Go(func() { statuses <- insistent(t, client, fmt.Sprintf("busy-%d-%d", round, request%3), documents) })
		}
		requests.Wait()
		close(statuses)
		for status := range statuses {
			made, refused = made+status[201], refused+status[429]
		}
	}
	if refused == 0 {
		t.Error("nothing was refused with 429")
	}
	count, err := client.Count(t.Context(), "busy-*")
	if err != nil || count != made {
		t.Errorf("%d documents, %v; %d were made", count, err, made)
	}
}

// insistent indexes documents, and counts all as refused where the request was.
func insistent(t *testing.T, client *esnode.Client, index string, documents []string) map[int]int {
	statuses, err := bulk(t.Context(), client, index, documents)
	var refused *esnode.StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests {
		return map[int]int{429: len(documents)}
	}
	if err != nil {
		t.Error(err)
	}
	return statuses
}

// A paused node answers nothing, once each of its threads has stopped, and goes on with what it has when it is resumed.
func paused(t *testing.T, node *esnode.Node) {
	must(t, node.Pause())
	for answers := 0; answered(t, node); answers++ {
		if answers == 100 {
			t.Fatal("a paused node answers")
		}
	}
	must(t, node.Resume())
	must(t, node.AwaitReady(t.Context()))
}

func answered(t *testing.T, node *esnode.Node) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := node.Client().Info(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

func stopped(t *testing.T, node *esnode.Node) {
	create(t, node, "stopped", "1")
	node.Stop()
	if _, err := node.Client().Info(t.Context()); err == nil {
		t.Error("a node that was stopped answers")
	}
	node.Restart()
	hasDocuments(t, node, "stopped", "1")
}

// Where nothing was fetched the test is skipped, and fails in CI, with a line that says what to do.
func TestWithoutNode(t *testing.T) {
	for _, tc := range []struct {
		name, folder, ci, says string
		fails                  bool
	}{
		{"no folder", "", "", "HYDRANT_TEST_SEARCH is not set: make sets it\n", false},
		{"no folder in CI", "", "true", "HYDRANT_TEST_SEARCH is not set: make sets it\n", true},
		{"an empty folder", "/nowhere", "", "elasticsearch-9.5.3 is not in /nowhere: make search-nodes fetches it\n", false},
		{"an empty folder in CI", "/nowhere", "true", "elasticsearch-9.5.3 is not in /nowhere: make search-nodes fetches it\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(esnode.FolderVariable, tc.folder)
			t.Setenv("CI", tc.ci)
			inner := &recorder{TB: t}
			inner.run(func() { esnode.Start(inner, esnode.Elasticsearch9, esnode.Options{}) })
			if inner.failed != tc.fails || inner.skipped == tc.fails || inner.said != tc.says {
				t.Errorf("failed %v, skipped %v, said %q", inner.failed, inner.skipped, inner.said)
			}
		})
	}
}

// A node that cannot start says why.
func TestSettingThatIsNone(t *testing.T) {
	inner := &recorder{TB: t}
	inner.run(func() {
		esnode.Start(inner, esnode.OpenSearch3, esnode.Options{Settings: map[string]string{"no.such.setting": "1"}})
	})
	if inner.skipped {
		t.Skip(inner.said)
	}
	if !inner.failed || !strings.Contains(inner.said, "no.such.setting") {
		t.Errorf("the node did not start, and said: %s", inner.said)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
