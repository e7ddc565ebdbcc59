package producer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"go.uber.org/goleak"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/producer"
)

const stream = "orders"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// config is a producer of 200 records for a fake without a network.
func config(client firehose.HTTPClient) producer.Config {
	return producer.Config{
		Client: producer.NewClient("http://firehose.invalid", client),
		Stream: stream,
		ID:     "p1",
		Rand:   rand.New(rand.NewPCG(1, 2)),
		Ledger: checker.NewLedger(),
		Count:  200,
	}
}

func newProducer(t *testing.T, c producer.Config) *producer.Producer {
	t.Helper()
	p, err := producer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(t *testing.T, c producer.Config) producer.Stats {
	t.Helper()
	p := newProducer(t, c)
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.Stats()
}

// assertStored compares what the fake stored with the ledger, using the checker's own judgement.
func assertStored(t *testing.T, fake *fakeFirehose, ledger *checker.Ledger) {
	t.Helper()
	seen := make(map[checker.Record]int)
	for _, line := range fake.stored[stream] {
		record, err := checker.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if seen[record]++; seen[record] > 1 {
			t.Errorf("%s is stored twice", record)
		}
	}
	if counts := ledger.Counts(); len(seen) < counts.Acknowledged {
		t.Errorf("%d records stored, %+v", len(seen), counts)
	}
}

func TestEverythingAcknowledged(t *testing.T) {
	fake := newFake()
	c := config(fake)
	stats := run(t, c)
	want := checker.Counts{Offered: 200, Acknowledged: 200}
	if got := c.Ledger.Counts(); got != want || stats.Acknowledged != 200 || stats.LastErr != nil {
		t.Errorf("got %+v, %+v", got, stats)
	}
	if stats.Calls != len(fake.calls) {
		t.Errorf("%d calls counted, %d made", stats.Calls, len(fake.calls))
	}
	assertStored(t, fake, c.Ledger)
}

// Both operations are used, sizes are spread as documented, and no call is over the limits.
func TestSizes(t *testing.T) {
	fake := newFake()
	c := config(fake)
	c.Count = 5_000
	run(t, c)
	operations := make(map[string]int)
	classes := make(map[string]int)
	largest := 0
	for _, call := range fake.calls {
		operations[call.operation]++
		total := 0
		for _, size := range call.sizes {
			classes[class(size)]++
			total += size
		}
		if len(call.sizes) > 500 || total > 4<<20 {
			t.Errorf("a call of %d records and %d bytes", len(call.sizes), total)
		}
		largest = max(largest, len(call.sizes))
	}
	if operations["PutRecord"] == 0 || operations["PutRecordBatch"] == 0 || largest < 400 {
		t.Errorf("got %v, at most %d records", operations, largest)
	}
	if classes["small"] < 4_700 || classes["medium"] < 50 || classes["large"] < 2 || classes["other"] > 0 {
		t.Errorf("sizes: %v", classes)
	}
}

// No record is larger than it may be, and the ones that would be are as large.
func TestLargest(t *testing.T) {
	fake := newFake()
	c := config(fake)
	c.Count, c.Largest = 5_000, 20_000
	run(t, c)
	most := 0
	for _, call := range fake.calls {
		for _, size := range call.sizes {
			most = max(most, size)
		}
	}
	if most != c.Largest {
		t.Errorf("the largest record has %d bytes", most)
	}
}

// Of documents the share that was asked for is bad, in each way, and the checker knows every one.
func TestDocuments(t *testing.T) {
	fake := newFake()
	c := config(fake)
	c.Count, c.Documents, c.Bad = 3_000, true, 0.1
	run(t, c)
	assertStored(t, fake, c.Ledger)
	begins := map[string]int{}
	for _, line := range fake.stored[stream] {
		var document struct{ At string }
		switch err := json.Unmarshal(line, &document); {
		case !json.Valid(line):
			begins["no JSON"]++
		case err != nil:
			begins["a list"]++
		case document.At != "":
			begins["mismatch"]++
		default:
			begins["document"]++
		}
	}
	if begins["document"] < 2_500 || begins["document"] > 2_900 || begins["no JSON"] < 50 || begins["a list"] < 50 || begins["mismatch"] < 50 {
		t.Errorf("got %v", begins)
	}
}

func class(size int) string {
	switch {
	case size >= 100 && size <= 2000:
		return "small"
	case size >= 10_000 && size < 60_000:
		return "medium"
	case size >= 60_000 && size <= 900_000:
		return "large"
	}
	return "other"
}

func TestSeedDecides(t *testing.T) {
	var got []string
	for range 2 {
		fake := newFake()
		run(t, config(fake))
		got = append(got, fmt.Sprint(fake.calls))
	}
	if got[0] != got[1] {
		t.Error("the same seed made other calls")
	}
}

func TestOutcomes(t *testing.T) {
	always := func(status int, body string) func(int) (int, string) {
		return func(int) (int, string) { return status, body }
	}
	for _, test := range []struct {
		name     string
		refuse   func(int) (int, string)
		want     checker.Counts
		attempts int
		lastErr  string
	}{
		{
			name:     "refused for good",
			refuse:   always(http.StatusBadRequest, failure("ResourceNotFoundException")),
			want:     checker.Counts{Offered: 200, Refused: 200},
			attempts: 1, lastErr: "ResourceNotFoundException",
		},
		{
			name:     "unavailable all the time",
			refuse:   always(http.StatusServiceUnavailable, failure("ServiceUnavailableException")),
			want:     checker.Counts{Offered: 200, Unknown: 200},
			attempts: 5, lastErr: "ServiceUnavailableException",
		},
		{
			name:     "a load balancer's error page",
			refuse:   always(http.StatusBadGateway, "<html>"),
			want:     checker.Counts{Offered: 200, Unknown: 200},
			attempts: 5, lastErr: "502",
		},
		{
			name:     "success with a broken body",
			refuse:   always(http.StatusOK, `{"RecordId":`),
			want:     checker.Counts{Offered: 200, Unknown: 200},
			attempts: 1, lastErr: "deserialization",
		},
		{
			name: "unavailable twice",
			refuse: func(attempt int) (int, string) {
				if attempt <= 2 {
					return http.StatusInternalServerError, failure("InternalFailure")
				}
				return 0, ""
			},
			want:     checker.Counts{Offered: 200, Acknowledged: 200},
			attempts: 3,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				fake.refuse = test.refuse
				c := config(fake)
				stats := run(t, c)
				if got := c.Ledger.Counts(); got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				for id, attempts := range fake.attempts {
					if attempts != test.attempts {
						t.Errorf("%d attempts with the invocation id %s, want %d", attempts, id, test.attempts)
					}
				}
				if len(fake.attempts) != stats.Calls {
					t.Errorf("%d invocation ids in %d calls", len(fake.attempts), stats.Calls)
				}
				if !strings.Contains(fmt.Sprint(stats.LastErr), test.lastErr) {
					t.Errorf("the last error is %v", stats.LastErr)
				}
			})
		})
	}
}

// A record that is answered with an ErrorCode is in doubt, the others of its batch are acknowledged.
func TestRecordsRefusedInABatch(t *testing.T) {
	fake := newFake()
	fake.refuseRecord = func(i int) bool { return i%2 == 1 }
	c := config(fake)
	stats := run(t, c)
	counts := c.Ledger.Counts()
	if counts.Unknown == 0 || counts.Refused != 0 || counts.Acknowledged+counts.Unknown != 200 {
		t.Errorf("got %+v", counts)
	}
	if stats.Unknown != counts.Unknown || !strings.Contains(fmt.Sprint(stats.LastErr), "Slow down.") {
		t.Errorf("got %+v", stats)
	}
	assertStored(t, fake, c.Ledger)
}

// An answer that breaks the API's contract ends the run.
func TestContractBroken(t *testing.T) {
	for name, spoil := range map[string]func(map[string]any){
		"FailedPutCount": func(a map[string]any) { a["FailedPutCount"] = 7 },
		"too few responses": func(a map[string]any) {
			if responses, ok := a["RequestResponses"].([]any); ok {
				a["RequestResponses"] = responses[1:]
			}
		},
		"neither id nor error": func(a map[string]any) {
			if responses, ok := a["RequestResponses"].([]any); ok {
				clear(responses[0].(map[string]any))
			}
		},
		"both id and error": func(a map[string]any) {
			if responses, ok := a["RequestResponses"].([]any); ok {
				responses[0].(map[string]any)["ErrorCode"] = "InternalFailure"
			}
		},
		"no RecordId": func(a map[string]any) { delete(a, "RecordId"); a["FailedPutCount"] = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			fake.spoil = spoil
			if err := newProducer(t, config(fake)).Run(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
}

// stalled is a service that never answers.
type stalled struct{ attempts chan struct{} }

func (s stalled) Do(r *http.Request) (*http.Response, error) {
	s.attempts <- struct{}{}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeoutIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(stalled{make(chan struct{}, 10)})
		c.Count, c.CallTimeout = 1, 30*time.Second
		begun := time.Now()
		stats := run(t, c)
		if got := c.Ledger.Counts(); got != (checker.Counts{Offered: 1, Unknown: 1}) {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(begun); took != 30*time.Second || !errors.Is(stats.LastErr, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, stats.LastErr)
		}
	})
}

// A producer that is told to end finishes its call, so that the outcome is known.
func TestEndWaitsForTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		slow := delayed{fake, 5 * time.Second}
		c := config(slow)
		c.Count = 0
		p := newProducer(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		counts := c.Ledger.Counts()
		if counts.Unknown > 0 || counts.Acknowledged == 0 || p.Stats().Calls != 1 {
			t.Errorf("got %+v after %d calls", counts, p.Stats().Calls)
		}
	})
}

// delayed answers after a while.
type delayed struct {
	fake  *fakeFirehose
	delay time.Duration
}

func (d delayed) Do(r *http.Request) (*http.Response, error) {
	timer := time.NewTimer(d.delay)
	defer timer.Stop()
	<-timer.C
	return d.fake.Do(r)
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		c := config(fake)
		c.Rate, c.Count = 100, 2000
		begun := time.Now()
		run(t, c)
		// The last call is not waited for.
		if took := time.Since(begun); took < 19*time.Second || took > 20*time.Second {
			t.Errorf("2000 records at 100 a second took %v", took)
		}
		for _, call := range fake.calls {
			if len(call.sizes) > 100 {
				t.Errorf("%d records at once", len(call.sizes))
			}
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(newFake())
		c.Rate, c.Count = 100, 0
		p := newProducer(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		if err := p.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		before := p.Stats().Calls
		impatient, giveUp := context.WithTimeout(ctx, time.Hour)
		defer giveUp()
		if err := p.Pause(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second Pause: %v", err)
		}
		if calls := p.Stats().Calls; calls != before {
			t.Errorf("%d calls within an hour of being paused", calls-before)
		}
		p.Resume()
		for p.Stats().Calls < before+5 {
			synctest.Wait()
			<-time.After(time.Second)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Run goes on where it ended, with records that were not offered before.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(newFake())
		c.Rate = 10
		p := newProducer(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if offered := c.Ledger.Counts().Offered; offered == 0 || offered == 200 {
			t.Errorf("%d records within 5 s", offered)
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := c.Ledger.Counts(); got.Acknowledged != 200 {
			t.Errorf("got %+v", got)
		}
	})
}

// Behind a proxy that swallows answers the SDK repeats calls under one invocation id, and every record is stored once.
func TestSwallowedAnswers(t *testing.T) {
	fake := newFake()
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	proxy, err := faultproxy.NewAPI(1, server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	if err := proxy.SetSwallow(0.25); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	ledger := checker.NewLedger()
	var producers sync.WaitGroup
	for i := range 4 {
		c := config(client)
		c.Client = producer.NewClient(proxy.URL(), client)
		c.ID, c.Rand, c.Ledger, c.Count = fmt.Sprintf("p%d", i), rand.New(rand.NewPCG(uint64(i), 0)), ledger, 50
		p := newProducer(t, c)
		producers.Go(func() {
			if err := p.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	producers.Wait()
	if proxy.Counts()[faultproxy.Swallowed] == 0 {
		t.Error("no answer was swallowed")
	}
	counts := ledger.Counts()
	if counts.Offered != 200 || counts.Acknowledged+counts.Unknown != 200 || counts.Acknowledged < 150 {
		t.Errorf("got %+v, %s", counts, proxy.Counts())
	}
	assertStored(t, fake, ledger)
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*producer.Config){
		"no client":       func(c *producer.Config) { c.Client = nil },
		"no ledger":       func(c *producer.Config) { c.Ledger = nil },
		"no stream":       func(c *producer.Config) { c.Stream = "" },
		"negative rate":   func(c *producer.Config) { c.Rate = -1 },
		"negative size":   func(c *producer.Config) { c.Largest = -1 },
		"batch too large": func(c *producer.Config) { c.MaxBatch = 501 },
	} {
		t.Run(name, func(t *testing.T) {
			c := config(newFake())
			spoil(&c)
			if _, err := producer.New(c); err == nil {
				t.Error("no error")
			}
		})
	}
}
