package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/producer"
	"hydrant/shared/record"
)

// load is producers, and what they know.
type load struct {
	ledger *checker.Ledger
	stop   func() // has the producers' last calls finished
}

// produce starts two producers for each delivery stream of a way.
func (p *project) produce(rng *rand.Rand, w way) *load {
	p.t.Helper()
	l := &load{ledger: checker.NewLedger()}
	client := producer.NewClient(p.api(), &http.Client{Timeout: 15 * time.Second})
	ctx, cancel := context.WithCancel(p.t.Context())
	var running sync.WaitGroup
	var all []*producer.Producer
	for _, stream := range w.streams {
		for n := range 2 {
			one, err := producer.New(producer.Config{
				Client: client, Stream: stream, ID: fmt.Sprintf("p%d", n), Ledger: l.ledger, Rate: 150,
				Documents: w.documents, Largest: w.largest,
				Rand: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
			})
			p.must(err)
			all = append(all, one)
			running.Go(func() {
				if err := one.Run(ctx); err != nil {
					p.t.Error(err)
				}
			})
		}
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		for _, one := range all {
			p.t.Logf("%+v", one.Stats())
		}
	})
	p.t.Cleanup(l.stop)
	return l
}

// allDelivered ends the loads, and waits.
func (p *project) allDelivered(loads ...*load) {
	p.t.Helper()
	for _, l := range loads {
		l.stop()
	}
	p.eventually("everything is delivered", 2*time.Minute, func() bool { return p.nothingWaits() })
}

// checkObjects counts every record that is in S3, below a prefix.
func (p *project) checkObjects(ledger *checker.Ledger, bucket, prefix string) *checker.Report {
	p.t.Helper()
	report, err := checker.Check(p.t.Context(), ledger, p.objects(bucket, prefix), checker.Options{Ordered: true, Locate: locate})
	p.must(err)
	return report
}

func (p *project) objects(bucket, prefix string) []checker.Object {
	p.t.Helper()
	objects, err := checker.Objects(p.t.Context(), p.s3(), bucket, prefix)
	var none *types.NoSuchBucket // which is made with its first object
	if errors.As(err, &none) {
		return nil
	}
	p.must(err)
	return objects
}

func (p *project) verdict(report *checker.Report) {
	p.t.Helper()
	p.t.Log(report)
	if err := report.Err(); err != nil {
		p.t.Error(err)
	}
	if report.Delivered == 0 {
		p.t.Error("nothing was delivered, so nothing was tested")
	}
}

// nothingWaits tells whether every message and batch is delivered, by the tool that an operator would ask. What is lost in spite of its word, the
// checker finds.
func (p *project) nothingWaits() bool {
	p.t.Helper()
	said := p.Ask(p.t.Context(), "status", "--json")
	var status struct {
		Legs []struct {
			Buffered struct{ Messages int64 }
			Pending  struct{ Batches int64 }
		}
	}
	p.must(json.Unmarshal([]byte(said), &status))
	if len(status.Legs) == 0 {
		p.t.Fatal("there are no delivery streams")
	}
	var n int64
	for _, leg := range status.Legs {
		n += leg.Buffered.Messages + leg.Pending.Batches
	}
	return n == 0
}

// locate reads a RecordId as its documentation says.
func locate(id string) (checker.Position, error) {
	parsed, err := record.ParseID(id)
	return checker.Position{StreamID: string(parsed.Stream), Shard: uint64(parsed.Shard), Sequence: parsed.Sequence}, err
}
