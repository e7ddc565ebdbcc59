package catalog

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/names"
)

// proofKey is the key of the proofs. No delivery stream has it, and its one entry says that there is nothing under it, so that a
// reader of any version passes over it.
const proofKey = "/proof"

// Prove is Freshen by proof: what the view holds when it returns was in the catalog when Prove was called, or came later, even if a
// server of the cluster believes what is no longer so. It costs a write, of which every view is told.
//
// For it a mark is stored, which takes a majority of the servers, as any write does; all that was stored before is behind it. When
// the answer is lost nothing is known, and Prove returns an error: a mark that is stored all the same, at once, a minute later, or
// twice, says nothing to anybody. A store that is full takes no mark.
func (v *View) Prove(ctx context.Context) error {
	return v.catchUp(ctx, v.catalog.mark)
}

// mark stores a mark and returns its revision.
func (c *Catalog) mark(ctx context.Context) (uint64, error) {
	mark := nats.NewMsg("$KV." + names.CatalogBucket + "." + proofKey)
	mark.Header.Set("KV-Operation", "DEL")
	ack, err := c.js.PublishMsg(ctx, mark, jetstream.WithExpectStream("KV_"+names.CatalogBucket))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// end returns the last revision of which the leader knows.
//
// While there is no leader NATS lets a server that only follows answer, even one that is cut off and behind, for as long as that
// lasts.
func (c *Catalog) end(ctx context.Context) (uint64, error) {
	info, err := c.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return 0, broker.ErrLeaderless
	}
	return info.State.LastSeq, nil
}
