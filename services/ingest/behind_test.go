package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// parted is an installation on three NATS servers, one of which the test cuts off. It is a site to the two others, which lead all that
// the test does not have led by the one.
type parted struct {
	*site
	cluster *natstest.Cluster
	links   *natstest.Links
	alone   *natstest.Server // cut off, or to be
}

func newParted(t *testing.T) *parted {
	t.Helper()
	cluster, links := natstest.StartLinkedCluster(t, 3)
	p := &parted{cluster: cluster, links: links}
	for _, s := range cluster.Servers {
		if s != cluster.MetaLeader() {
			p.alone = s
		}
	}
	p.site = &site{t: t, nats: cluster.MetaLeader(), js: cluster.MetaLeader().JetStream()}
	cfg := broker.Config{NATSURL: cluster.URL(), Replicas: 3, Retention: time.Hour, AllowUnsynced: true}
	if err := broker.Prepare(t.Context(), p.js, cfg, discard()); err != nil {
		t.Fatal(err)
	}
	return p
}

// holding makes a log with a record in it, which the server that is not cut off leads.
func (p *parted) holding(log names.Log) {
	p.t.Helper()
	if err := broker.CreateLog(p.t.Context(), p.js, broker.LogConfig(log, time.Hour, 1)); err != nil {
		p.t.Fatal(err)
	}
	must[*jetstream.PubAck](p.t)(p.js.Publish(p.t.Context(), log.Subject(), []byte("kept")))
	p.cluster.Lead(p.js, log.JetStream(), p.nats)
}

func (p *parted) stillHolds(log names.Log) {
	p.t.Helper()
	eventually(p.t, log.JetStream()+" is there with its record", func() error {
		stream, err := p.js.Stream(p.t.Context(), log.JetStream())
		if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && stream.CachedInfo().State.Msgs != 1 {
			p.t.Fatalf("the record of %s is gone: %v", log.JetStream(), err)
		}
		return err
	})
}

// view follows the catalog by way of one of the servers.
func (p *parted) view(by *natstest.Server) *catalog.View {
	p.t.Helper()
	view := catalog.NewView(p.catalogBy(by), discard())
	p.run(func(ctx context.Context) { view.Run(ctx, nil) })
	eventually(p.t, "the view is read", view.Ready)
	return view
}

func (p *parted) catalogBy(s *natstest.Server) *catalog.Catalog {
	p.t.Helper()
	return must[*catalog.Catalog](p.t)(catalog.Open(p.t.Context(), s.JetStream()))
}

// cutOffAnswering cuts the server off that behind is read from, when that answers by itself. It may be seconds until a server does for
// what it does not lead.
func (p *parted) cutOffAnswering(behind *catalog.Catalog) {
	p.t.Helper()
	eventually(p.t, "the server answers", func() error {
		ctx, cancel := context.WithTimeout(p.t.Context(), 200*time.Millisecond)
		defer cancel()
		p.links.Cut(p.alone.Name())
		_, err := behind.Read(ctx, "nothing")
		if errors.Is(err, catalog.ErrNotFound) {
			return nil
		}
		p.links.Heal()
		return errors.Join(errors.New("it does not"), err)
	})
}

// again replaces a delivery stream by one of the same name, once the servers that are left have a leader of the catalog.
func (p *parted) again(documents *catalog.Catalog, old *catalog.DeliveryStream, id names.StreamID) {
	p.t.Helper()
	next := *old
	next.ID = id
	eventually(p.t, "the delivery stream is made again", func() error {
		ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
		defer cancel()
		if err := documents.Remove(ctx, old.Name, old.ID); err != nil {
			return err
		}
		err := documents.Create(ctx, &next)
		if errors.Is(err, catalog.ErrExists) {
			_, err = documents.Update(ctx, next.Name, func(found *catalog.DeliveryStream) error {
				if found.ID != next.ID {
					return errBehind
				}
				return nil
			})
		}
		return err
	})
}

// The server that led the catalog is cut off, and a delivery stream is made again. By its word the former one is still there, and
// the log of the new one is an orphan.
func TestNoLogIsDeletedByTheWordOfAServerThatIsBehind(t *testing.T) {
	t.Parallel()
	p := newParted(t)
	p.cluster.Lead(p.js, broker.CatalogStream, p.alone)
	old := p.document("again", types.DeliveryStreamStatusActive, 1)
	successor := names.Log{Stream: "again", ID: names.NewStreamID()}
	p.holding(successor)
	view := p.view(p.alone)
	eventually(t, "the view has it", func() error { return view.Prove(t.Context()) })

	documents := p.catalog()
	p.links.Cut(p.alone.Name())
	p.again(documents, old, successor.ID)
	late := &lifecycle{js: p.js, catalog: documents, view: view, prove: view.Prove, log: discard()}
	if err := late.evict(t.Context(), old, successor.Subject()); err == nil || errors.Is(err, errSuperseded) {
		t.Errorf("a server that is alone proved something: %v", err)
	}
	p.stillHolds(successor)
	p.links.Heal()
	eventually(t, "it is found that the delivery stream was made again", func() error {
		if err := late.evict(t.Context(), old, successor.Subject()); !errors.Is(err, errSuperseded) {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	p.stillHolds(successor)
}

// A replica looks after a creation that another has finished, and reads the document from a server that does not have it.
func TestCreatorIsNotToldThatItIsDeleted(t *testing.T) {
	t.Parallel()
	p := newParted(t)
	p.cluster.Lead(p.js, broker.CatalogStream, p.nats)
	log := names.Log{Stream: "made", ID: names.NewStreamID()}
	p.holding(log)
	behind := p.catalogBy(p.alone)
	view := p.view(p.nats)
	p.cutOffAnswering(behind)
	d := *p.document("other", types.DeliveryStreamStatusActive, 1)
	d.Name, d.ID = log.Stream, log.ID
	if err := p.catalog().Create(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	l := &lifecycle{js: p.js, catalog: behind, view: view, prove: view.Prove, log: discard()}
	eventually(t, "the creation is found to be there", func() error { // the watch may have been by way of the server that is cut off
		if err := l.finish(t.Context(), &d); !errors.Is(err, errBehind) {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	p.stillHolds(log)
}
