// Package producer puts records into a delivery stream with the AWS SDK, and keeps in a ledger what became of them.
//
// Each record is offered in one call and never in another: the SDK alone repeats calls, under one invocation id, and
// what a call leaves in doubt stays in doubt. That is what lets the checker demand that no record is delivered twice.
package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"

	"hydrant/e2e/internal/checker"
)

// The API's limits on a PutRecordBatch.
const (
	MaxCallRecords = 500
	MaxCallBytes   = 4 << 20
)

// Config says what to produce.
type Config struct {
	Client *firehose.Client
	// Stream is the delivery stream, ID the producer's own name among all of the ledger's.
	Stream string
	ID     string
	// Rand decides sizes and calls. The producer must be its only user.
	Rand   *rand.Rand
	Ledger *checker.Ledger
	// Rate bounds the records a second, and with it the records of a call to what is due in a second; unbounded if 0.
	Rate float64
	// Count is how many records to offer; until the context ends if 0.
	Count int
	// MaxBatch bounds the records of a call; 500 if 0.
	MaxBatch int
	// Documents makes the records JSON documents, of which the share Bad is such that no index takes it: no JSON, a list, or
	// one that the mapping refuses.
	Documents bool
	Bad       float64
	// Largest bounds the bytes of a record; the API's limit if 0.
	Largest int
	// CallTimeout bounds a call with all its attempts; a minute if 0.
	CallTimeout time.Duration
}

// Validate returns an error that names what is wrong.
func (c Config) Validate() error {
	switch {
	case c.Client == nil || c.Rand == nil || c.Ledger == nil:
		return errors.New("producer: Client, Rand and Ledger have to be set")
	case c.Stream == "" || c.ID == "":
		return errors.New("producer: Stream and ID have to be set")
	case c.Rate < 0 || c.Count < 0 || c.Largest < 0 || c.CallTimeout < 0:
		return errors.New("producer: Rate, Count, Largest and CallTimeout must not be negative")
	case c.Bad < 0 || c.Bad > 1:
		return fmt.Errorf("producer: Bad is %v, and has to be from 0 to 1", c.Bad)
	case c.MaxBatch < 0 || c.MaxBatch > MaxCallRecords:
		return fmt.Errorf("producer: MaxBatch is %d, and has to be from 0 to %d", c.MaxBatch, MaxCallRecords)
	}
	return nil
}

// NewClient returns a client as a user of the service would make it: the SDK's standard retries, with five attempts.
// The HTTP client decides how long an attempt may take, and should give up only after the service has, which takes 10 s.
//
// Two of the SDK's precautions are off, because they would have the producers fall silent while faults last: the quota
// of retries, and waits of up to 20 s.
func NewClient(endpoint string, httpClient firehose.HTTPClient) *firehose.Client {
	return firehose.New(firehose.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
		HTTPClient:   httpClient,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 5
			o.MaxBackoff = 2 * time.Second
			o.RateLimiter = ratelimit.None
		}),
	})
}

// Stats is what a producer did up to now.
type Stats struct {
	Calls int
	// Acknowledged, Refused and Unknown are records.
	Acknowledged, Refused, Unknown int
	// LastErr is the latest error of a call; nil if there was none.
	LastErr error
}

// Producer puts records into a delivery stream, one call at a time.
type Producer struct {
	config Config
	// turn holds a token that is taken for each call and while the producer is paused.
	turn chan struct{}
	next uint64
	due  time.Time

	mu    sync.Mutex
	stats Stats
}

// New returns a producer, which does nothing before Run.
func New(config Config) (*Producer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.MaxBatch == 0 {
		config.MaxBatch = MaxCallRecords
	}
	if config.Largest == 0 {
		config.Largest = checker.MaxLine
	}
	if config.CallTimeout == 0 {
		config.CallTimeout = time.Minute
	}
	p := &Producer{config: config, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p, nil
}

// Run offers records until the count is reached or the context ends. The call under way is finished then, so that the
// ledger knows as much as can be known. Run may be called again after it has returned, to go on. An error means that the service broke the API's
// contract, or that the ledger was misused; a call that fails is none.
func (p *Producer) Run(ctx context.Context) error {
	for p.left() != 0 {
		if !p.await(ctx) {
			return nil
		}
		err := p.put(context.WithoutCancel(ctx))
		p.turn <- struct{}{}
		if err != nil {
			return fmt.Errorf("producer %s: %w", p.config.ID, err)
		}
	}
	return nil
}

// Pause returns when no call is under way, and keeps the producer from making another until Resume.
func (p *Producer) Pause(ctx context.Context) error {
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pause producer %s: %w", p.config.ID, ctx.Err())
	}
}

// Resume lets a paused producer go on. It is to be called once for each Pause that returned nil.
func (p *Producer) Resume() { p.turn <- struct{}{} }

// Stats returns what was done up to now.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// left returns how many records are still to be offered, -1 for without end.
func (p *Producer) left() int {
	if p.config.Count == 0 {
		return -1
	}
	return p.config.Count - int(p.next)
}

// await returns true with the turn taken when the next call is due, and false when the context has ended.
func (p *Producer) await(ctx context.Context) bool {
	timer := time.NewTimer(time.Until(p.due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	select {
	case <-p.turn:
	case <-ctx.Done():
		return false
	}
	if ctx.Err() != nil {
		p.turn <- struct{}{}
		return false
	}
	return true
}

// put makes one call. The records are in the ledger before it.
func (p *Producer) put(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.CallTimeout)
	defer cancel()
	lines := p.lines()
	p.pace(len(lines))
	records := make([]checker.Record, len(lines))
	for i, line := range lines {
		var err error
		if records[i], err = p.config.Ledger.Offer(line); err != nil {
			return err
		}
	}
	p.count(func(s *Stats) { s.Calls++ })
	// A call with one record may be either operation.
	if len(lines) == 1 && p.config.Rand.IntN(4) > 0 {
		return p.putRecord(ctx, records[0], lines[0])
	}
	return p.putRecordBatch(ctx, records, lines)
}

// pace sets when the next call is due. Time lost in a slow call is not made up for, which would be a burst.
func (p *Producer) pace(records int) {
	if p.config.Rate == 0 {
		return
	}
	p.due = time.Now().Add(time.Duration(float64(records) / p.config.Rate * float64(time.Second)))
}

func (p *Producer) putRecord(ctx context.Context, record checker.Record, line []byte) error {
	out, err := p.config.Client.PutRecord(ctx, &firehose.PutRecordInput{
		DeliveryStreamName: &p.config.Stream,
		Record:             &types.Record{Data: line},
	})
	if err != nil {
		return p.failed([]checker.Record{record}, err)
	}
	return p.acknowledge(record, out.RecordId)
}

func (p *Producer) putRecordBatch(ctx context.Context, records []checker.Record, lines [][]byte) error {
	input := &firehose.PutRecordBatchInput{DeliveryStreamName: &p.config.Stream}
	for _, line := range lines {
		input.Records = append(input.Records, types.Record{Data: line})
	}
	out, err := p.config.Client.PutRecordBatch(ctx, input)
	if err != nil {
		return p.failed(records, err)
	}
	if len(out.RequestResponses) != len(records) {
		return fmt.Errorf("%d responses to %d records", len(out.RequestResponses), len(records))
	}
	failed := 0
	for i, response := range out.RequestResponses {
		if response.ErrorCode != nil {
			failed++
		}
		if err := p.settle(records[i], response); err != nil {
			return err
		}
	}
	if count := int(aws.ToInt32(out.FailedPutCount)); count != failed {
		return fmt.Errorf("FailedPutCount is %d with %d failed records", count, failed)
	}
	return nil
}

// settle enters what became of one record of a batch. An ErrorCode leaves it in doubt: ServiceUnavailable may mean
// that the service itself had no clear answer.
func (p *Producer) settle(record checker.Record, response types.PutRecordBatchResponseEntry) error {
	if response.ErrorCode == nil {
		return p.acknowledge(record, response.RecordId)
	}
	if response.RecordId != nil {
		return fmt.Errorf("record %s has both RecordId and ErrorCode %s", record, *response.ErrorCode)
	}
	p.count(func(s *Stats) {
		s.Unknown++
		s.LastErr = fmt.Errorf("record %s: %s: %s", record, *response.ErrorCode, aws.ToString(response.ErrorMessage))
	})
	return nil
}

func (p *Producer) acknowledge(record checker.Record, recordID *string) error {
	if aws.ToString(recordID) == "" {
		return fmt.Errorf("record %s has neither RecordId nor ErrorCode", record)
	}
	p.count(func(s *Stats) { s.Acknowledged++ })
	return p.config.Ledger.Acknowledge(record, *recordID)
}

// failed enters what became of the records of a call that failed.
func (p *Producer) failed(records []checker.Record, cause error) error {
	refused := isRefusal(cause)
	p.count(func(s *Stats) {
		s.LastErr = cause
		if refused {
			s.Refused += len(records)
		} else {
			s.Unknown += len(records)
		}
	})
	if !refused {
		return nil
	}
	for _, record := range records {
		if err := p.config.Ledger.Refuse(record); err != nil {
			return err
		}
	}
	return nil
}

// isRefusal tells whether a call's last answer said that it is the client's fault. An attempt before it may still
// have stored the records, so that a refused record may be delivered.
func isRefusal(err error) bool {
	var answered smithy.APIError
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &answered) || !errors.As(err, &status) {
		return false
	}
	code := status.HTTPStatusCode()
	return code >= 400 && code < 500
}

func (p *Producer) count(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}
