package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/delivery"
)

// TestSearchReleases delivers good documents and bad ones to each release, in both shapes of the API.
func TestSearchReleases(t *testing.T) {
	t.Parallel()
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: impatient()})
	for _, release := range esnode.Versions() {
		t.Run(string(release), func(t *testing.T) {
			node := esnode.Start(t, release, esnode.Options{})
			name := strings.ReplaceAll(string(release), ".", "-")
			t.Run("the shape of 2016", func(t *testing.T) { mixed(t, d, node, name+"-mixed") })
			t.Run("the newer shape", func(t *testing.T) { rotated(t, d, node, name+"-rotated") })
			if release == esnode.Elasticsearch7 || release == esnode.OpenSearch3 { // the one has types, and the other none
				t.Run("redriven", func(t *testing.T) { redrivenDocuments(t, d, node, name+"-redriven") })
			}
			t.Run("another index", func(t *testing.T) { formerIndex(t, d, node, name+"-former") })
		})
	}
}

// mixed puts documents of which three are none, or not of the index's mapping.
func mixed(t *testing.T, d *deploy.Deployment, node *esnode.Node, name string) {
	createStream(t, d, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, ElasticsearchDestinationConfiguration: elasticsearchTo(node.URL, name, "line")})
	good := numbered(0, 1000, 50)
	ids := putAll(t, d, name, good[:500])
	wantIndexed(t, node.Client(), name, ids) // now n is a number
	bad := []string{"not JSON\n", `["an array"]`, `{"n":"no number"}`}
	badIDs := putAll(t, d, name, bad)
	ids = append(ids, putAll(t, d, name, good[500:])...)
	lines := wantSetAside(t, d, name, badIDs, bad)
	wantIndexed(t, node.Client(), name, ids)
	wantType(t, node, name)

	wantReasons(t, node, name, lines, badIDs)
	wantLogged(t, d, name, len(bad))
	wantStatus(t, d, name, len(ids), len(bad))
	wantBackedUp(t, d, name, append(good, bad...))
}

// wantType checks that documents have the type of the delivery stream where the server knows types, and none elsewhere.
func wantType(t *testing.T, node *esnode.Node, index string) {
	t.Helper()
	var answer struct {
		Hits struct {
			Hits []struct {
				Type string `json:"_type"`
			}
		}
	}
	if err := node.Client().Do(t.Context(), http.MethodGet, "/"+index+"/_search?size=1", nil, &answer); err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Hits.Hits[0].Type, typeOf(node.Version); got != want {
		t.Errorf("documents have type %q, want %q", got, want)
	}
}

func typeOf(release esnode.Version) string {
	if release == esnode.Elasticsearch7 {
		return "line"
	}
	return ""
}

func wantReasons(t *testing.T, node *esnode.Node, index string, lines map[string]checker.FailedDocument, ids []string) {
	t.Helper()
	for i, want := range []string{"not sent: ", "not sent: ", "failed to parse field [n] of type [long]"} {
		line := lines[ids[i]]
		if line.Code != "400" || !strings.Contains(line.Message, want) || line.Index != index || line.Type != typeOf(node.Version) {
			t.Errorf("set aside as %+v, want %q", line, want)
		}
		if line.Arrived <= 0 || line.Ended < line.Arrived {
			t.Errorf("it arrived at %d, and failed at %d", line.Arrived, line.Ended)
		}
	}
	if attempts := lines[ids[2]].Attempts; attempts < 1 {
		t.Errorf("what the server refused was sent %d times", attempts)
	}
}

// wantLogged waits until the error log accounts for as many documents that were set aside.
func wantLogged(t *testing.T, d *deploy.Deployment, name string, failed int) {
	t.Helper()
	for n, records := 1, 0; records < failed; n++ {
		log := messages(t, d, "ERRORS", "errors."+name+".ElasticsearchDelivery", n)
		entry, err := delivery.DecodeLogEntry(log[n-1])
		if err != nil {
			t.Fatal(err)
		}
		if entry.ErrorCode == "ES.DocumentsFailed" {
			records += entry.Records
			if !strings.HasPrefix(entry.SetAsideAt, "s3://"+setAside+"/"+name+"/elasticsearch-failed/") {
				t.Errorf("the error log has %+v", entry)
			}
		}
	}
}

func wantStatus(t *testing.T, d *deploy.Deployment, name string, delivered, failed int) {
	t.Helper()
	type total struct{ Records int }
	var report struct {
		Legs []struct {
			Leg       string
			Delivered total
			SetAside  total `json:"set_aside"`
		}
	}
	deploy.Eventually(t, fmt.Sprintf("hydrant status has %d delivered and %d set aside", delivered, failed), func() bool {
		if err := json.Unmarshal([]byte(tool(t, d, "status", name, "--json")), &report); err != nil {
			t.Fatal(err)
		}
		for _, leg := range report.Legs {
			if leg.Leg == "es" {
				return leg.Delivered.Records == delivered && leg.SetAside.Records == failed
			}
		}
		return false
	})
}

// wantBackedUp waits for the objects of everything that was put, and checks that it is in them once.
func wantBackedUp(t *testing.T, d *deploy.Deployment, name string, data []string) {
	t.Helper()
	size := 0
	for _, text := range data {
		size += len(text)
	}
	prefix := fmt.Sprintf("%s/%d/", name, time.Now().UTC().Year())
	got := body(t, d, setAside, prefix, size)
	for _, text := range data {
		if strings.Count(got, text) != 1 {
			t.Errorf("%q is backed up %d times", text, strings.Count(got, text))
		}
	}
	if len(got) != size {
		t.Errorf("%d bytes are backed up, want %d", len(got), size)
	}
}

// rotated puts documents into indices that are named by the hour.
func rotated(t *testing.T, d *deploy.Deployment, node *esnode.Node, name string) {
	to := searchTo(node.URL, name, 300)
	to.IndexRotationPeriod = types.AmazonopensearchserviceIndexRotationPeriodOneHour
	createSearch(t, d, to)
	names := map[string]bool{}
	hour := func() { names[name+time.Now().UTC().Format("-2006-01-02-15")] = true }
	hour()
	ids := putAll(t, d, name, numbered(0, 1000, 50))
	hour()
	wantIndexed(t, node.Client(), name+"*", ids)
	for document, err := range node.Client().IDs(t.Context(), name+"*") {
		if err != nil {
			t.Fatal(err)
		}
		if !names[document.Index] {
			t.Fatalf("a document is in %s, want one of %v", document.Index, names)
		}
	}
	wantNothingSetAside(t, d, name)
}
