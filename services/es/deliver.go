package es

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
)

const (
	// fruitless is after how many passes that delivered nothing a batch is handed back, to wait in JetStream.
	fruitless = 2
	// mostPasses is after how many passes it is whatever they delivered.
	mostPasses = 8
)

// destination delivers batches to Elasticsearch and OpenSearch.
type destination struct {
	servers      *servers
	store        *objectstore.Store
	records      *recordlog.Log
	installation string
	buffers      *buffers
	packers      *packers
	log          *slog.Logger
	now          func() time.Time

	inFlight           int
	mostItems          int
	timeout            time.Duration
	gzip               bool
	minPause, maxPause time.Duration
}

var _ delivery.Destination = (*destination)(nil)

// Deliver implements delivery.Destination.
//
// An attempt is safe to repeat, to lose its answers and to be stopped for a minute anywhere: a document that is in the index
// is not written again, and the file of failed documents is written once. It sends what is pending, and only that, a few
// times; then either nothing is pending, or the retry duration is over and what is pending has failed, or the batch waits.
func (d *destination) Deliver(ctx context.Context, a delivery.Attempt) (delivery.Result, error) {
	if a.Batch.Messages == 0 {
		return delivery.Result{Outcome: batch.Expired, Version: a.Stream.Version, ExpiredRecords: a.Batch.Records}, nil
	}
	if a.Stream.Destination.Search == nil {
		return delivery.Result{}, internal(fmt.Errorf("version %d of the delivery stream has no search destination", a.Stream.Version))
	}
	t := &try{destination: d, Attempt: a, log: d.log.With("stream", a.Batch.Stream, "batch", a.Batch.ID())}
	if err := t.startLedger(); err != nil {
		return delivery.Result{}, err
	}
	result, err := t.deliver(ctx)
	if err != nil {
		return delivery.Result{}, t.classify(ctx, err)
	}
	return *result, nil
}

// try is one attempt to deliver one batch.
type try struct {
	*destination
	delivery.Attempt
	log    *slog.Logger
	ledger *ledger
	worst  error           // of the last pass
	doubt  *delivery.Error // whether documents are in a former place too
}

// startLedger goes on from what earlier attempts found out, if that can be read. What a newer version found out is not passed
// over: the batch is left to that version.
func (t *try) startLedger() (err error) {
	t.ledger = newLedger(t.Batch.First)
	if len(t.Progress) == 0 {
		return nil
	}
	l, err := readProgress(t.Progress, t.Batch)
	switch {
	case errors.Is(err, format.ErrNewer):
		return err
	case err != nil:
		t.log.Warn("everything in the batch is sent again", "error", err)
	default:
		t.ledger = l
	}
	return nil
}

func (t *try) to() *types.AmazonopensearchserviceDestinationDescription {
	return &t.Stream.Destination.Search.Description
}

func (t *try) deliver(ctx context.Context) (*delivery.Result, error) {
	if result, err := t.lookBack(ctx); result != nil || err != nil {
		return result, err
	}
	if err := t.lookElsewhere(ctx); err != nil {
		return nil, err
	}
	since := t.FailedSince
	for passes, idle := 1, 0; ; passes++ {
		p, err := t.pass(ctx, fromLog)
		if err != nil {
			return nil, err
		}
		t.worst = p.worst
		if t.ledger.whole && t.ledger.tally().pending == 0 {
			return t.finish(ctx)
		}
		if since.IsZero() {
			since = t.now()
		}
		if onlyTooLarge(p) {
			continue // each such pass halves the requests
		}
		if !t.now().Before(since.Add(t.retryDuration())) {
			return t.finish(ctx)
		}
		if p.delivered == 0 {
			idle++
		}
		if idle >= fruitless || passes >= mostPasses {
			return nil, t.unfinished(p)
		}
		if err := t.pause(ctx, passes, p.worst); err != nil {
			return nil, err
		}
	}
}

// onlyTooLarge tells that a pass has nothing to wait for.
func onlyTooLarge(p *pass) bool {
	var r *refusal
	return errors.As(p.worst, &r) && r.tooLarge()
}

// retryDuration is for how long after its first failure a batch is tried again.
func (t *try) retryDuration() time.Duration {
	if o := t.to().RetryOptions; o != nil {
		return time.Duration(aws.ToInt32(o.DurationInSeconds)) * time.Second
	}
	return 0
}

// pass sends once what is pending. That the server is not there, or says no, is a pass in which nothing was sent.
func (t *try) pass(ctx context.Context, from feed) (*pass, error) {
	p := &pass{try: t}
	err := t.meet(ctx, p)
	if err == nil {
		return p, p.run(ctx, from)
	}
	if ctx.Err() != nil {
		return nil, err
	}
	p.worst = err
	t.ledger.tries++
	return p, nil
}

// meet finds the server, and out which one it is.
func (t *try) meet(ctx context.Context, p *pass) error {
	var err error
	if p.to, err = t.servers.of(t.Stream); err != nil {
		return err
	}
	looking, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if p.is, err = p.to.look(looking); err != nil {
		return err
	}
	p.named = t.naming(p.is)
	return nil
}

func (t *try) naming(is version) naming { return t.namingOf(t.to(), is) }

func (t *try) namingOf(to *types.AmazonopensearchserviceDestinationDescription, is version) naming {
	n := naming{
		index: aws.ToString(to.IndexName), rotation: to.IndexRotationPeriod, ids: true,
		stream: t.Batch.StreamID, shard: t.Batch.Shard,
	}
	if o := to.DocumentIdOptions; o != nil {
		n.ids = o.DefaultDocumentIdFormat != types.DefaultDocumentIdFormatNoDocumentId
	}
	if is.types() {
		n.typeName = aws.ToString(to.TypeName)
	}
	return n
}

// pause waits before the next pass: longer each time, with jitter, and as long as the server asks for.
func (t *try) pause(ctx context.Context, passes int, worst error) error {
	wait := min(t.minPause<<min(passes-1, 20), t.maxPause)
	var r *refusal
	if errors.As(worst, &r) {
		if seconds, err := strconv.Atoi(r.after); err == nil && seconds > 0 {
			wait = min(max(wait, time.Duration(seconds)*time.Second), t.maxPause)
		}
	}
	timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
