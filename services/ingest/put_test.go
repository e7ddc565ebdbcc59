package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// stored reads a record back by its id.
func (s *site) stored(stream names.Stream, id string) string {
	s.t.Helper()
	parsed := must[record.ID](s.t)(record.ParseID(id))
	log := names.Log{Stream: stream, Shard: parsed.Shard, ID: parsed.Stream}
	js := must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), log.JetStream()))
	message := must[*jetstream.RawStreamMsg](s.t)(js.GetMsg(s.t.Context(), parsed.Sequence))
	from := 0
	lengths := record.Lengths(message.Header, len(message.Data))
	for _, n := range lengths[:parsed.Index] {
		from += n
	}
	return string(message.Data[from : from+lengths[parsed.Index]])
}

// messages counts what the logs hold.
func (s *site) messages() int {
	s.t.Helper()
	total := 0
	for _, name := range s.logs() {
		total += int(must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), name)).CachedInfo().State.Msgs)
	}
	return total
}

func TestPutRecord(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("p")
	for name, data := range map[string]string{
		"text": "hello\n", "empty": "", "binary": "\x00\xff\x80", "largest": strings.Repeat("x", record.MaxRecordBytes),
	} {
		t.Run(name, func(t *testing.T) {
			id := must[string](t)(r.put("p", data))
			if s.stored("p", id) != data {
				t.Error("something else is stored")
			}
		})
	}
	answer := r.raw("PutRecord", `{"DeliveryStreamName":"p","Record":{"Data":"QUJD"}}`)
	if !strings.HasPrefix(answer.Body, `{"RecordId":"h1-`) || !strings.HasSuffix(answer.Body, `","Encrypted":false}`) {
		t.Error(answer.Body)
	}
}

func TestPutRecordBatch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("p")
	in := &firehose.PutRecordBatchInput{DeliveryStreamName: new("p")}
	for i := range 500 {
		in.Records = append(in.Records, types.Record{Data: bytes.Repeat([]byte(fmt.Sprint(i)), i%9*300)})
	}
	out := must[*firehose.PutRecordBatchOutput](t)(r.client.PutRecordBatch(t.Context(), in))
	if *out.FailedPutCount != 0 || *out.Encrypted || len(out.RequestResponses) != 500 {
		t.Fatalf("%d failed of %d", *out.FailedPutCount, len(out.RequestResponses))
	}
	for i, entry := range out.RequestResponses {
		if entry.ErrorCode != nil || entry.ErrorMessage != nil {
			t.Fatal("an error beside a RecordId")
		}
		if i%50 == 0 && s.stored("p", *entry.RecordId) != string(in.Records[i].Data) {
			t.Errorf("record %d is another", i)
		}
	}
	answer := r.raw("PutRecordBatch", `{"DeliveryStreamName":"p","Records":[{"Data":"QUJD"}]}`)
	if !strings.HasPrefix(answer.Body, `{"FailedPutCount":0,"RequestResponses":[{"RecordId":"h1-`) || !strings.HasSuffix(answer.Body, `"}],"Encrypted":false}`) {
		t.Error(answer.Body)
	}
	r.released()
}

// repeated sends a body under an invocation id.
func (r *replica) repeated(invocation, attempt, body string) rawAnswer {
	r.t.Helper()
	request := must[*http.Request](r.t)(http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.Addr()+"/", strings.NewReader(body)))
	request.Header.Set("X-Amz-Target", "Firehose_20150804.PutRecord")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20161101/us-east-1/firehose/aws4_request, Signature=0")
	request.Header.Set("amz-sdk-invocation-id", invocation)
	request.Header.Set("amz-sdk-request", "attempt="+attempt+"; max=3")
	return r.do(request)
}

func TestRetriesStoreOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.start(), s.start()
	one.create("p")
	const body = `{"DeliveryStreamName":"p","Record":{"Data":"QUJD"}}`
	first := one.repeated("call-1", "1", body)
	if first.Status != 200 {
		t.Fatal(first.Body)
	}
	if again := two.repeated("call-1", "2", body); again.Body != first.Body {
		t.Errorf("the retry at another replica: %s, first: %s", again.Body, first.Body)
	}
	if other := one.repeated("call-2", "1", body); other.Body == first.Body {
		t.Error("another call has the same RecordId")
	}
	if n := s.messages(); n != 2 {
		t.Errorf("%d messages are stored", n)
	}
}

// TestSDKRetries lets the SDK itself retry a call whose answer it does not get.
func TestSDKRetries(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("p")
	lost := 0
	swallow := func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("swallow", func(
			ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
		) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if err == nil && lost < 2 {
				lost++
				err = &smithyhttp.RequestSendError{Err: fmt.Errorf("answer %d is lost", lost)}
			}
			return out, metadata, err
		}), middleware.Before)
	}
	client := firehose.New(r.client.Options(), func(o *firehose.Options) { o.Retryer = retry.NewStandard() }, firehose.WithAPIOptions(swallow))
	out := must[*firehose.PutRecordOutput](t)(client.PutRecord(t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: new("p"), Record: &types.Record{Data: []byte("once")},
	}))
	if lost != 2 || s.messages() != 1 || s.stored("p", *out.RecordId) != "once" {
		t.Errorf("%d answers lost, %d messages stored", lost, s.messages())
	}
}

func TestPutRightAfterCreateElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.start(), s.start()
	for i := range 20 {
		name := fmt.Sprint("s", i)
		one.create(name)
		if _, err := two.put(name, "x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d, err := two.describe(name); err != nil || d.DeliveryStreamStatus != types.DeliveryStreamStatusActive {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPutToOneThatWasMadeAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	for i := range 5 {
		r.create("again")
		id := must[string](t)(r.put("again", fmt.Sprint("round ", i)))
		if s.stored("again", id) != fmt.Sprint("round ", i) || s.messages() != 1 {
			t.Errorf("round %d: %d messages", i, s.messages())
		}
		r.delete("again")
		r.gone("again")
	}
}

// TestPutWithAnOldView puts through a replica that knows only the predecessor of a delivery stream that was made again.
func TestPutWithAnOldView(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("again")

	view := catalog.NewView(s.catalog(), discard())
	a := &api{view: view, refresher: newRefresher(view.Freshen), metrics: r.metrics}
	a.puts = newPutLog(s.nats.Conn(), view, newGate(s.js, r.cfg.NATS, r.cfg.Gate, discard()), discard())
	follow := func(ctx context.Context) { view.Run(ctx, nil) }
	first := s.run(follow)
	eventually(t, "the view is read", view.Ready)
	first()
	r.delete("again")
	r.gone("again")
	r.create("again")

	s.run(func(ctx context.Context) { _ = a.puts.Run(ctx) })
	s.run(a.refresher.run)
	eventually(t, "the put log takes puts", func() error {
		if !a.puts.takes() {
			return errors.New("not yet")
		}
		return nil
	})
	call := &request{name: "PutRecord", lease: newMemory(1 << 20).lease(), caller: caller{InvocationID: "i", Attempt: 1}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var output any
	var err error
	done := s.run(func(context.Context) {
		output, err = a.putRecord(ctx, call, putInput{Stream: new("again"), putData: dataOf([]byte("x")), Count: 1})
	})
	eventually(t, "the old log is found missing", func() error {
		if a.puts.counts.Repeats.Load() == 0 {
			return errors.New("not tried")
		}
		return nil
	})
	s.run(follow)
	done()
	if err != nil || s.stored("again", output.(putRecordAnswer).recordID(0, 0).String()) != "x" {
		t.Errorf("%v, %v", output, err)
	}
}

func TestPutWhileCreatingOrDeleting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(func(s *Service) { s.resumeAfter = time.Hour })
	d := &streamDocument{Name: "c", ID: names.NewStreamID(), Status: types.DeliveryStreamStatusCreating, Shards: 1, RetentionSeconds: 60}
	if err := s.catalog().Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, err := r.put("c", "x")
	wantError(t, err, "ResourceNotFoundException", "Firehose c not found under account 000000000000.")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("m")
	_ = must[string](t)(r.put("m", "12345"))
	_ = must[*firehose.PutRecordBatchOutput](t)(r.client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{
		DeliveryStreamName: new("m"), Records: []types.Record{{Data: []byte("a")}, {Data: []byte("bc")}},
	}))
	_, _ = r.put("unknown", "x")
	want := `
# HELP hydrant_incoming_bytes_total Bytes of records acknowledged.
# TYPE hydrant_incoming_bytes_total counter
hydrant_incoming_bytes_total{stream="m"} 8
# HELP hydrant_incoming_records_total Records acknowledged.
# TYPE hydrant_incoming_records_total counter
hydrant_incoming_records_total{stream="m"} 3
# HELP hydrant_put_record_batch_bytes_total Bytes acknowledged to PutRecordBatch.
# TYPE hydrant_put_record_batch_bytes_total counter
hydrant_put_record_batch_bytes_total{stream="m"} 3
# HELP hydrant_put_record_batch_records_total Records acknowledged to PutRecordBatch.
# TYPE hydrant_put_record_batch_records_total counter
hydrant_put_record_batch_records_total{stream="m"} 2
# HELP hydrant_put_record_batch_requests_total PutRecordBatch requests.
# TYPE hydrant_put_record_batch_requests_total counter
hydrant_put_record_batch_requests_total{stream="m"} 1
# HELP hydrant_put_record_bytes_total Bytes acknowledged to PutRecord.
# TYPE hydrant_put_record_bytes_total counter
hydrant_put_record_bytes_total{stream="m"} 5
# HELP hydrant_put_record_requests_total PutRecord requests.
# TYPE hydrant_put_record_requests_total counter
hydrant_put_record_requests_total{stream="m"} 1
# HELP hydrant_api_errors_total Requests answered with an error.
# TYPE hydrant_api_errors_total counter
hydrant_api_errors_total{code="ResourceNotFoundException",operation="PutRecord"} 1
# HELP hydrant_ingest_messages_total Messages committed.
# TYPE hydrant_ingest_messages_total counter
hydrant_ingest_messages_total 2
`
	err := testutil.GatherAndCompare(r.registry, strings.NewReader(want),
		"hydrant_incoming_bytes_total", "hydrant_incoming_records_total", "hydrant_put_record_requests_total", "hydrant_put_record_bytes_total",
		"hydrant_put_record_batch_requests_total", "hydrant_put_record_batch_records_total", "hydrant_put_record_batch_bytes_total",
		"hydrant_api_errors_total", "hydrant_ingest_messages_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(r.metrics.requests); n != 3 {
		t.Errorf("%d operations have latencies", n)
	}
	r.delete("m")
	r.gone("m")
	eventually(t, "the series are dropped", func() error {
		if n := testutil.CollectAndCount(r.metrics.incomingBytes) + testutil.CollectAndCount(r.metrics.batch.records); n != 0 {
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
}
