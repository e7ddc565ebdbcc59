package e2e

import (
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
)

// TestSearchWhileKilled puts 100,000 documents, or a fifth of them, while the sink is killed four times, and the node once.
func TestSearchWhileKilled(t *testing.T) {
	t.Parallel()
	for release, part := range map[esnode.Version]int{esnode.Elasticsearch9: 10_000, esnode.OpenSearch3: 2_000} {
		t.Run(string(release), func(t *testing.T) {
			node := esnode.Start(t, release, esnode.Options{})
			d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: impatient()})
			createSearch(t, d, searchTo(node.URL, "killed", 600))
			var ids []string
			for round := range 10 {
				ids = append(ids, putAll(t, d, "killed", numbered(part*round, part, 200))...)
				switch round {
				case 1, 3, 6, 8:
					d.Stop("es")()
				case 5:
					node.Kill()
				case 7:
					node.Restart()
				}
			}
			wantIndexed(t, node.Client(), "killed", ids)
			wantNothingSetAside(t, d, "killed")
			wantAllNumbers(t, node, len(ids))
		})
	}
}

// wantAllNumbers checks that each number from 0 on is in one document: ids alone do not tell whose record a document is.
func wantAllNumbers(t *testing.T, node *esnode.Node, n int) {
	t.Helper()
	var answer struct {
		Aggregations struct {
			Numbers struct{ Value int }
			Low     struct{ Value float64 }
			High    struct{ Value float64 }
			Sum     struct{ Value float64 }
		}
	}
	query := map[string]any{"size": 0, "aggs": map[string]any{
		"numbers": map[string]any{"value_count": map[string]string{"field": "n"}}, "sum": map[string]any{"sum": map[string]string{"field": "n"}},
		"low": map[string]any{"min": map[string]string{"field": "n"}}, "high": map[string]any{"max": map[string]string{"field": "n"}},
	}}
	if err := node.Client().Do(t.Context(), "POST", "/killed/_search", query, &answer); err != nil {
		t.Fatal(err)
	}
	got := answer.Aggregations
	if got.Numbers.Value != n || got.Low.Value != 0 || got.High.Value != float64(n-1) || got.Sum.Value != float64(n)*float64(n-1)/2 {
		t.Errorf("the numbers of the documents are %+v", got)
	}
}
