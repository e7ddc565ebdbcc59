package redshift

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/staging"
)

// inHand is a queue of objects that are held for good.
type inHand struct{ back, acknowledged int }

var _ queue = (*inHand)(nil)

func (*inHand) Collect(ctx context.Context, _ staging.Bound) ([]*staging.Object, error) {
	return nil, ctx.Err()
}

func (*inHand) Held(...*staging.Object) error { return nil }

func (q *inHand) Acknowledge(_ context.Context, objects ...*staging.Object) error {
	q.acknowledged += len(objects)
	return nil
}

func (q *inHand) HandBack(_ time.Duration, objects ...*staging.Object) { q.back += len(objects) }

func (*inHand) Close() {}

// behind is a lane by way of a NATS server that leads the catalog, and the catalog by way of another.
type behind struct {
	*warehouse
	alone  string
	links  *natstest.Links
	lane   *lane
	others *catalog.Catalog
	doc    *catalog.DeliveryStream
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{warehouse: newWarehouse(t)}
	var servers *natstest.Cluster
	servers, b.links = natstest.StartLinkedCluster(t, 3)
	js := servers.JetStream()
	await(t, "the catalog is there", func() bool {
		cfg := broker.Config{NATSURL: servers.URL(), Replicas: 3, Retention: time.Hour, AllowUnsynced: true}
		return broker.Prepare(t.Context(), js, cfg, testLog(t)) == nil
	})
	_, err := broker.InstallationID(t.Context(), js)
	check(t, err)
	found, err := js.Stream(t.Context(), broker.CatalogStream)
	check(t, err)
	b.alone = found.CachedInfo().Cluster.Leader
	servers.Lead(js, "KV_"+names.RetriesBucket, servers.Named(b.alone)) // so that it still answers what is kept of failures, too
	for _, s := range servers.Servers {
		if s.Name() != b.alone {
			b.others, err = catalog.Open(t.Context(), s.JetStream())
			check(t, err)
		}
	}
	b.doc = b.stream()
	check(t, b.others.Create(t.Context(), b.doc))
	b.open(servers.Named(b.alone).JetStream())
	return b
}

// open makes the lane, which collects nothing by itself.
func (b *behind) open(js jetstream.JetStream) {
	b.t.Helper()
	documents, err := catalog.Open(b.t.Context(), js)
	check(b.t, err)
	view := catalog.NewView(documents, testLog(b.t))
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { view.Run(ctx, nil) })
	b.t.Cleanup(func() { cancel(); following.Wait() })
	await(b.t, "the view has the delivery stream", func() bool { return view.Get(b.doc.Name) != nil })
	registry := prometheus.NewRegistry()
	recorder, err := datapoints.NewRecorder("test", registry, testLog(b.t))
	check(b.t, err)
	d := &desk{cfg: b.cfg, js: js, view: view, metrics: newMetrics(registry, recorder), log: testLog(b.t), now: time.Now, slots: make(chan struct{}, 1)}
	check(b.t, d.open(b.t.Context(), b.store))
	b.lane = newLane(d, b.doc, cancel)
	b.t.Cleanup(b.lane.loader.close)
}

// Staged objects wait while the NATS server that is asked is behind, though that answers looks: they may have been sent to the
// database that it does not know of, and are in that one's ledger.
func TestServerThatIsBehind(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	b.exec("CREATE TABLE moved (object TEXT)")
	objects := staged(b.objects("a b"))
	b.links.Cut(b.alone)
	await(t, "the others store a change", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := b.others.Update(ctx, b.doc.Name, func(d *catalog.DeliveryStream) error {
			to := b.destination()
			to.Redshift.Description.CopyCommand.DataTableName = aws.String("moved")
			d.Replace(*to, time.Now())
			return nil
		})
		return err == nil
	})
	q := new(inHand)
	b.lane.deliver(t.Context(), q, objects)
	wantEqual(t, "loaded while the server is behind", b.rows(), "")
	wantEqual(t, "handed back", q.back, 2)

	b.links.Heal()
	await(t, "they are loaded", func() bool {
		b.lane.deliver(t.Context(), q, objects)
		return q.acknowledged == 2
	})
	wantEqual(t, "loaded where they were before", b.rows(), "")
	wantEqual(t, "loaded where they are now", len(b.column("SELECT object FROM moved")), 2)
}
