package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
)

// deaf is a proxy before a node, of which nobody hears what became of a bulk request while lose is set.
type deaf struct {
	URL  string
	lose atomic.Bool
}

func startDeaf(t *testing.T, node *esnode.Node) *deaf {
	t.Helper()
	to, err := url.Parse(node.URL)
	must(t, err)
	d := new(deaf)
	forward := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.lose.Load() && strings.HasSuffix(r.URL.Path, "/_bulk") {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// formerIndex changes the index while nobody knows that documents are in it: they stay there, and are not delivered again.
func formerIndex(t *testing.T, d *deploy.Deployment, node *esnode.Node, name string) {
	proxy := startDeaf(t, node)
	createStream(t, d, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, ElasticsearchDestinationConfiguration: elasticsearchTo(proxy.URL, name+"-a", typeOf(node.Version)),
	})
	proxy.lose.Store(true)
	ids := putAll(t, d, name, numbered(0, 1000, 50))
	awaitLogged(t, d, name, "ES.ConnectionFailed")
	changeIndex(t, d, name, name+"-b")
	proxy.lose.Store(false)
	ids = append(ids, putAll(t, d, name, numbered(1000, 500, 50))...)
	wantIndexed(t, node.Client(), name+"-*", ids)
	for _, index := range []string{name + "-a", name + "-b"} {
		count, err := node.Client().Count(t.Context(), index)
		must(t, err)
		if count == 0 {
			t.Errorf("no document is in %s", index)
		}
	}
	wantNothingSetAside(t, d, name)
}

func changeIndex(t *testing.T, d *deploy.Deployment, name, index string) {
	t.Helper()
	client := d.Firehose()
	was, err := client.DescribeDeliveryStream(t.Context(), &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &name})
	must(t, err)
	_, err = client.UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: was.DeliveryStreamDescription.VersionId,
		DestinationId:                            was.DeliveryStreamDescription.Destinations[0].DestinationId,
		AmazonopensearchserviceDestinationUpdate: &types.AmazonopensearchserviceDestinationUpdate{IndexName: &index},
	})
	must(t, err)
}

// formerStream changes from a data stream, which lets nobody get its documents by their ids.
func formerStream(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	proxy := startDeaf(t, node)
	createSearch(t, d, searchTo(proxy.URL, "logs-former", 300))
	proxy.lose.Store(true)
	ids := putAll(t, d, "logs-former", stamped(0, 500))
	awaitLogged(t, d, "logs-former", "ES.ConnectionFailed")
	changeIndex(t, d, "logs-former", "logs-now")
	proxy.lose.Store(false)
	ids = append(ids, putAll(t, d, "logs-former", stamped(500, 500))...)
	wantIndexed(t, node.Client(), "logs-former,logs-now", ids)
	wantNothingSetAside(t, d, "logs-former")
}
