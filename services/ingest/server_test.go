package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/service"
)

func TestRequestsThatNameNoOperation(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	for name, test := range map[string]struct{ method, path, target string }{
		"GET":               {http.MethodGet, "/", ""},
		"GET with a target": {http.MethodGet, "/", "Firehose_20150804.ListDeliveryStreams"},
		"no target":         {http.MethodPost, "/", ""},
		"another service":   {http.MethodPost, "/", "DynamoDB_20120810.ListTables"},
		"only the prefix":   {http.MethodPost, "/", "Firehose_20150804."},
		"no dot":            {http.MethodPost, "/", "Firehose_20150804"},
		"unknown":           {http.MethodPost, "/", "Firehose_20150804.DropEverything"},
		"another case":      {http.MethodPost, "/", "Firehose_20150804.putrecord"},
		"another path":      {http.MethodPost, "/x", "Firehose_20150804.ListDeliveryStreams"},
	} {
		t.Run(name, func(t *testing.T) {
			request := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), test.method, "http://"+r.Addr()+test.path, strings.NewReader("{}")))
			if test.target != "" {
				request.Header.Set("X-Amz-Target", test.target)
			}
			answer := r.do(request)
			if answer.Status != 400 || answer.Body != `{"__type":"UnknownOperationException"}` {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})
	}
}

func TestErrorsHaveNoNamespaceAndAnID(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	first, second := r.raw("PutRecord", "x"), r.raw("PutRecord", "x")
	if first.Type != "SerializationException" || first.Status != 400 || first.Message == "" || first.Close != true {
		t.Errorf("%+v", first)
	}
	if a, b := first.Header.Get("x-amzn-RequestId"), second.Header.Get("x-amzn-RequestId"); a == b || len(a) != 36 {
		t.Errorf("request ids %q and %q", a, b)
	}
}

func wantUnavailable(t *testing.T, answer rawAnswer, message string) {
	t.Helper()
	if answer.Status != 503 || answer.Type != "ServiceUnavailableException" || answer.Message != message || !answer.Close {
		t.Errorf("%d %s, close %v; want %s", answer.Status, answer.Body, answer.Close, message)
	}
}

// released waits until no request holds memory.
func (r *replica) released() {
	r.t.Helper()
	eventually(r.t, "memory is released", func() error {
		if used := r.server.memory.used.Load(); used != 0 {
			return fmt.Errorf("%d bytes are held", used)
		}
		return nil
	})
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	r := newSite(t).start(func(s *Service) { s.server.limits.body = 50 * time.Millisecond })
	for name, header := range map[string]string{
		"announced": "Content-Length: 8000000",
		"chunked":   "Transfer-Encoding: chunked",
	} {
		t.Run(name, func(t *testing.T) {
			slow := r.slow("PutRecord", header)
			wantUnavailable(t, slow.answer(), "The request body did not arrive within 50ms.")
			r.released()
		})
	}
}

// TestAnnouncedBodyHoldsNoMemory checks that memory is held for what has arrived, not for what was announced.
func TestAnnouncedBodyHoldsNoMemory(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	const connections = 200
	for range connections {
		r.slow("PutRecordBatch", "Content-Length: 8000000").send(`{"Records":`)
	}
	eventually(t, "the requests are being read", func() error {
		if used := r.server.memory.used.Load(); used != connections*smallestBuffer {
			return fmt.Errorf("%d bytes are held", used)
		}
		return nil
	})
}

func TestSlowHeader(t *testing.T) {
	t.Parallel()
	r := newSite(t).start(func(s *Service) { s.server.limits.header = 50 * time.Millisecond })
	conn := must[net.Conn](t)(net.Dial("tcp", r.Addr()))
	defer func() { _ = conn.Close() }()
	slow := &slowRequest{t, conn}
	slow.send("POST / HTTP/1.1\r\nHost: x\r\nX-Unfinished: ")
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection goes on")
	}
}

func TestEndlessBody(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	for operation, most := range map[string]int{"PutRecord": 8 << 20, "CreateDeliveryStream": 1 << 20} {
		t.Run(operation, func(t *testing.T) {
			slow := r.slow(operation)
			sent := make(chan error)
			go func() { sent <- slow.endless() }()
			defer func() { <-sent }()
			defer func() { _ = slow.conn.Close() }()
			wantUnavailable(t, slow.answer(), fmt.Sprintf("The request body has more than the %d bytes that Hydrant reads.", most))
			r.released()
		})
	}
}

func TestBodyThatIsAnnouncedTooLarge(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	wantUnavailable(t, r.slow("PutRecord", "Content-Length: 8388609").answer(), "The request body has 8388609 bytes; Hydrant reads up to 8388608.")
	wantUnavailable(t, r.slow("ListDeliveryStreams", "Content-Length: 1048577").answer(), "The request body has 1048577 bytes; Hydrant reads up to 1048576.")
}

func TestLargestBody(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	body := `{"DeliveryStreamName":"no","Record":{"Data":"QQ=="}}`
	answer := r.raw("PutRecord", body+strings.Repeat(" ", 8<<20-len(body)))
	if answer.Type != "ResourceNotFoundException" {
		t.Error(answer.Body)
	}
	r.released()
}

func TestBodyThatIsCutOff(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	slow := r.slow("PutRecord", "Transfer-Encoding: chunked")
	slow.send("zz\r\n")
	wantUnavailable(t, slow.answer(), "The request body could not be read to its end.")
	gone := r.slow("PutRecord", "Content-Length: 100")
	gone.send("{")
	_ = gone.conn.Close()
	r.released()
}

func TestMemoryBudget(t *testing.T) {
	t.Parallel()
	const overBudgetText = "Slow down. Too many bytes of requests are in flight (--request-memory)."
	r := newSite(t).start(func(s *Service) { s.server.memory.limit = leastMemory })
	r.create("s")
	hog := r.slow("PutRecordBatch")
	hog.chunk(`{"DeliveryStreamName":"s","Records":[{"Data":""}]}` + strings.Repeat(" ", 5<<20))
	eventually(t, "the body is read", func() error {
		if used := r.server.memory.used.Load(); used != 8<<20 {
			return fmt.Errorf("%d bytes are held", used)
		}
		return nil
	})
	second := r.slow("PutRecordBatch")
	second.chunk(strings.Repeat(" ", 5<<20))
	wantUnavailable(t, second.answer(), overBudgetText)

	if _, err := r.put("s", "small"); err != nil {
		t.Errorf("a small request beside it: %v", err)
	}
	large := r.raw("ListDeliveryStreams", "{}"+strings.Repeat(" ", 900<<10))
	if large.Status != 503 || large.Message != overBudgetText {
		t.Errorf("a control-plane request that may take much: %+v", large)
	}
	hog.send("0\r\n\r\n")
	if answer := hog.answer(); answer.Status != 200 {
		t.Errorf("the first one: %s", answer.Body)
	}
	r.released()
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	operations := map[string]operation{"PutRecord": {
		most:  func(limits) int { return 1000 },
		parse: func(*request) (any, error) { panic("bug") },
	}}
	r.server.operations.Store(&operations)
	answer := r.raw("PutRecord", "SECRET")
	if answer.Status != 500 || answer.Type != "InternalFailure" {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	logged := r.logged.String()
	if !strings.Contains(logged, answer.Header.Get("x-amzn-RequestId")) || !strings.Contains(logged, "bug") || strings.Contains(logged, "SECRET") {
		t.Errorf("logged: %s", logged)
	}
	r.released()
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	slow := r.slow("ListDeliveryStreams", "Content-Length: 2")
	slow.send("{}")
	first := slow.answer()
	slow.send("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Firehose_20150804.Nothing\r\nContent-Length: 2\r\n\r\n{}")
	second := slow.answer()
	if first.Status != 200 || first.Close || second.Type != "UnknownOperationException" || second.Close {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestShutdownFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("s")
	slow := r.slow("PutRecord")
	slow.chunk(`{"DeliveryStreamName":"s",`)
	eventually(t, "the body is being read", func() error {
		if r.server.memory.used.Load() == 0 {
			return errors.New("nothing is held")
		}
		return nil
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	eventually(t, "it takes no more requests", func() error {
		_, err := r.put("s", "late")
		if err == nil {
			return errors.New("taken")
		}
		return nil
	})
	slow.chunk(`"Record":{"Data":"QUJD"}}`)
	slow.send("0\r\n\r\n")
	if answer := slow.answer(); answer.Status != 200 {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	<-stopped
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	r := newSite(t).start(func(s *Service) { s.server.limits.drain = 20 * time.Millisecond })
	slow := r.slow("PutRecord")
	slow.chunk("{")
	eventually(t, "the body is being read", func() error {
		if r.server.memory.used.Load() == 0 {
			return errors.New("nothing is held")
		}
		return nil
	})
	r.stop()
	if answer := slow.answer(); answer.Status != 503 {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}

func TestStartsWithoutNATS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.nats.Stop()
	r := launch(t, testConfig(s.nats.URL()))
	if err := r.Ready(); err == nil {
		t.Error("ready without NATS")
	}
	answer := r.raw("ListDeliveryStreams", "{}")
	if answer.Status != 503 || answer.Type != "ServiceUnavailableException" || answer.Message != "Hydrant is starting: it waits for NATS." {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	s.nats.Restart()
	eventually(t, "it is ready", r.Ready)
	r.create("s")
}

func TestStopsWithoutNATS(t *testing.T) {
	s := newSite(t)
	s.nats.Stop()
	launch(t, testConfig(s.nats.URL())).stop()
}

func TestNATSAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start().create("s")
	r := s.start(func(s *Service) { s.server.limits.call = 300 * time.Millisecond })
	eventually(t, "the view has it", func() error {
		if r.session.View().Get("s") == nil {
			return errors.New("not yet")
		}
		return nil
	})
	s.nats.Stop()
	_, err := r.put("s", "x")
	if !isCode(err, "ServiceUnavailableException") || !strings.Contains(err.Error(), "Slow down. ") {
		t.Errorf("put: %v", err)
	}
	name := "s"
	out, err := r.client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{
		DeliveryStreamName: &name, Records: []types.Record{{Data: []byte("a")}, {Data: []byte("b")}},
	})
	if err != nil || *out.FailedPutCount != 2 || *out.RequestResponses[1].ErrorCode != "ServiceUnavailableException" || out.RequestResponses[1].RecordId != nil {
		t.Errorf("batch: %+v, %v", out, err)
	}
	for operation, body := range map[string]string{
		"PutRecord":              `{"DeliveryStreamName":"unknown","Record":{"Data":"QQ=="}}`,
		"DescribeDeliveryStream": `{"DeliveryStreamName":"s"}`,
		"ListDeliveryStreams":    `{}`,
		"CreateDeliveryStream":   createWith(""),
		"DeleteDeliveryStream":   `{"DeliveryStreamName":"s"}`,
		"UpdateDestination":      updateWith("S3DestinationUpdate", ""),
	} {
		if answer := r.raw(operation, body); answer.Status != 503 || answer.Type != "ServiceUnavailableException" {
			t.Errorf("%s: %d %s", operation, answer.Status, answer.Body)
		}
	}
	s.nats.Restart()
	eventually(t, "puts are taken again", func() error {
		_, err := r.put("s", "y")
		return err
	})
}

func TestRunEndsWhenTheServerIsRefused(t *testing.T) {
	cfg := testConfig(newSite(t).nats.URL())
	cfg.NATS.Replicas = 3 // of a server that is not a cluster
	r := must[*Service](t)(New(cfg, service.Runtime{Log: discard(), Metrics: prometheus.NewRegistry()}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Run(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Run: %v", err)
	}
}
