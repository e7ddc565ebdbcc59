package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publish is JetStream alone: a bare client that publishes and waits for the acknowledgement, so many times at once.
type Publish struct {
	JetStream jetstream.JetStream
	Subject   string
	InFlight  int
	Length    time.Duration
	// Payload is the n-th message of a publisher.
	Payload func(publisher, n int) []byte
}

// Run publishes, and returns when the last message is acknowledged. It fails with the first publish that does.
func (p Publish) Run(ctx context.Context) (Result, error) {
	timed, cancel := context.WithTimeout(ctx, p.Length)
	defer cancel()
	results := make([]Result, p.InFlight)
	failures := make([]error, p.InFlight)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range p.InFlight {
		wg.Go(func() {
			results[n], failures[n] = p.publisher(ctx, timed, n)
			if failures[n] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	total := merge(results)
	total.Took = time.Since(start)
	return total, errors.Join(append(failures, ctx.Err())...)
}

// publisher ends with timed; a publish under way then is finished under ctx and counted.
func (p Publish) publisher(ctx, timed context.Context, number int) (Result, error) {
	var result Result
	for n := 0; timed.Err() == nil; n++ {
		message := &nats.Msg{Subject: p.Subject, Data: p.Payload(number, n)}
		start := time.Now()
		if _, err := p.JetStream.PublishMsg(ctx, message); err != nil {
			return result, err
		}
		result.Latencies = append(result.Latencies, time.Since(start))
		result.Calls++
		result.Bytes += int64(len(message.Data))
	}
	return result, nil
}
