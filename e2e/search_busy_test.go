package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/delivery"
)

// TestSearchUnderStrain has one node that has more to do than it can, is slow, full and read-only. It has one thread that writes,
// before which one request may wait, and so refuses the third at once.
func TestSearchUnderStrain(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.Elasticsearch9, esnode.Options{Settings: map[string]string{
		"node.processors": "1", "thread_pool.write.queue_size": "1",
		"cluster.info.update.interval": "10s", // how often it looks at its disk; more often is not accepted
	}})
	settings := impatient()
	settings["HYDRANT_BULK_RECORDS"], settings["HYDRANT_BULK_IN_FLIGHT"] = "20", "16"
	settings["HYDRANT_ES_TIMEOUT"] = "2s"
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: settings})
	t.Run("busy", func(t *testing.T) { busyNode(t, d, node) })
	t.Run("slow", func(t *testing.T) { slowNode(t, d, node) })
	t.Run("slower than is waited for", func(t *testing.T) { slowerNode(t, d, node) })
	t.Run("read-only", func(t *testing.T) { readOnlyCluster(t, d, node) })
	t.Run("full", func(t *testing.T) { fullNode(t, d, node) })
}

// busyNode has somebody else keep the node so busy that most of what is sent to it is refused.
func busyNode(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	put := map[string][]string{"busy-1": nil, "busy-2": nil, "busy-3": nil}
	for name := range put {
		must(t, node.Client().CreateIndex(t.Context(), name, nil))
		createSearch(t, d, searchTo(node.URL, name, 600))
	}
	log := readErrors(t, d, "*")
	end := flood(t, node)
	deploy.Eventually(t, "a batch waits for the node to be less busy", func() bool {
		for name, ids := range put {
			if count, err := node.Client().Count(t.Context(), name); err == nil && count == len(ids) {
				put[name] = append(ids, putAll(t, d, name, numbered(len(ids), 200, 200))...)
			}
		}
		return log.has("ES.Throttled")
	})
	end()
	// Nobody else's refusals are in it.
	if entry := log.entries["ES.Throttled"]; !strings.Contains(entry.Detail, "rejected_execution_exception") {
		t.Errorf("the error log has %+v", entry)
	}
	for name, ids := range put {
		wantIndexed(t, node.Client(), name, ids)
		wantNothingSetAside(t, d, name)
	}
	if rejectedWrites(t, node) == 0 {
		t.Error("the node says that it refused nothing")
	}
}

// errorLog is what is in an error log by now, the first entry of each code.
type errorLog struct {
	t        *testing.T
	consumer jetstream.Consumer
	entries  map[string]delivery.LogEntry
}

// readErrors reads the error log of a delivery stream, or of all with an asterisk for its name.
func readErrors(t *testing.T, d *deploy.Deployment, name string) *errorLog {
	t.Helper()
	consumer, err := d.JetStream().OrderedConsumer(t.Context(), "ERRORS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"errors." + name + ".ElasticsearchDelivery"},
	})
	must(t, err)
	return &errorLog{t: t, consumer: consumer, entries: map[string]delivery.LogEntry{}}
}

// has tells whether an entry of a code is there.
func (l *errorLog) has(code string) bool {
	l.t.Helper()
	messages, err := l.consumer.FetchNoWait(100)
	must(l.t, err)
	for m := range messages.Messages() {
		entry, err := delivery.DecodeLogEntry(m.Data())
		must(l.t, err)
		if _, there := l.entries[entry.ErrorCode]; !there {
			l.entries[entry.ErrorCode] = entry
		}
	}
	must(l.t, messages.Error())
	_, there := l.entries[code]
	return there
}

// flood sends bulk requests of its own from many sides until the function that it returns is called.
func flood(t *testing.T, node *esnode.Node) (end func()) {
	t.Helper()
	const sides, documents = 8, 500
	client := node.Client()
	must(t, client.CreateIndex(t.Context(), "flood", nil))
	body := []byte(strings.Repeat(`{"create":{}}`+"\n"+`{"text":"`+strings.Repeat("x", 200)+`"}`+"\n", documents))
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	for range sides {
		sending.Go(func() {
			for ctx.Err() == nil {
				if err := client.Do(ctx, http.MethodPost, "/flood/_bulk", body, nil); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		sending.Wait()
	}
}

// rejectedWrites is how often the node had no place for a write, as it counts them.
func rejectedWrites(t *testing.T, node *esnode.Node) (rejected int) {
	t.Helper()
	var answer struct {
		Nodes map[string]struct {
			ThreadPool struct{ Write struct{ Rejected int } } `json:"thread_pool"`
		}
	}
	must(t, node.Client().Do(t.Context(), http.MethodGet, "/_nodes/stats/thread_pool", nil, &answer))
	for _, n := range answer.Nodes {
		rejected += n.ThreadPool.Write.Rejected
	}
	return rejected
}

// slowNode takes ten times as long as it needs, which is waited for.
func slowNode(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	must(t, node.Client().CreateIndex(t.Context(), "slow", nil))
	createSearch(t, d, searchTo(node.URL, "slow", 600))
	end := slowly(t, node, 45*time.Millisecond, 5*time.Millisecond)
	ids := putAll(t, d, "slow", numbered(0, 300, 200))
	deploy.Eventually(t, "the node has written", func() bool { return written(t, node, "slow").Total >= len(ids) })
	end()
	wantIndexed(t, node.Client(), "slow", ids)
	wantNothingSetAside(t, d, "slow")
}

// slowerNode stands still for longer than an answer is waited for, with requests on their way that it carries out later.
func slowerNode(t *testing.T, d *deploy.Deployment, node *esnode.Node) {
	must(t, node.Client().CreateIndex(t.Context(), "slower", nil))
	createSearch(t, d, searchTo(node.URL, "slower", 600))
	end := slowly(t, node, 2400*time.Millisecond, 600*time.Millisecond)
	var ids []string
	deploy.Eventually(t, "a document comes again that is in the index since its first time", func() bool {
		now := written(t, node, "slower")
		if now.Total >= len(ids) {
			ids = append(ids, putAll(t, d, "slower", numbered(len(ids), 100, 200))...)
		}
		return now.Failed > 0
	})
	end()
	wantIndexed(t, node.Client(), "slower", ids)
	wantNothingSetAside(t, d, "slower")
}

// slowly stops the node for a time and lets it work for another, in turns, until the function that it returns is called.
func slowly(t *testing.T, node *esnode.Node, stopped, working time.Duration) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var turns sync.WaitGroup
	turns.Go(func() {
		for ctx.Err() == nil {
			if err := node.Pause(); err != nil {
				t.Error(err)
			}
			after(ctx, stopped)
			if err := node.Resume(); err != nil {
				t.Error(err)
			}
			after(ctx, working)
		}
	})
	return func() {
		cancel()
		turns.Wait()
	}
}

// after waits for a time to pass, or for the end of ctx.
func after(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// writes is how many documents an index took, and how many it did not, for whatever reason: here, that they are in it.
type writes struct {
	Total  int `json:"index_total"`
	Failed int `json:"index_failed"`
}

func written(t *testing.T, node *esnode.Node, index string) writes {
	t.Helper()
	var answer struct {
		Indices map[string]struct{ Primaries struct{ Indexing writes } }
	}
	must(t, node.Client().Do(t.Context(), http.MethodGet, "/"+index+"/_stats/indexing", nil, &answer))
	return answer.Indices[index].Primaries.Indexing
}
