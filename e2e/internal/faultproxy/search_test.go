package faultproxy_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hydrant/e2e/internal/faultproxy"
)

func newSearch(t *testing.T, backend string) *faultproxy.Search {
	t.Helper()
	p, err := faultproxy.NewSearch(1, backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// index is a search node that knows bulk requests and nothing else. What it took stays.
type index struct {
	mu   sync.Mutex
	took map[string]string // documents by id
}

func (x *index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	lines := strings.Split(string(body), "\n")
	var items []any
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		if json.Unmarshal([]byte(lines[i]), &action) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		x.took[action.Create.ID] = lines[i+1]
		items = append(items, map[string]any{"create": map[string]any{"_id": action.Create.ID, "status": 201}})
	}
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		// As a node does for whoever takes it, which Go's clients do unasked.
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		defer packed.Close()
		out = packed
	}
	_ = json.NewEncoder(out).Encode(map[string]any{"errors": false, "items": items})
}

func (x *index) ids() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.took))
}

// bulk is a request of documents with the ids 0 to n-1, each padded to a size.
func bulk(n, size int) string {
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, "{\"create\":{\"_index\":\"x\",\"_id\":\"%d\"}}\n{\"pad\":\"%s\"}\n", i, strings.Repeat("x", size))
	}
	return body.String()
}

func searchNode(t *testing.T, settings faultproxy.SearchSettings) (*faultproxy.Search, *index) {
	t.Helper()
	node := &index{took: map[string]string{}}
	p := newSearch(t, newBackend(t, node))
	if err := p.Set(settings); err != nil {
		t.Fatal(err)
	}
	return p, node
}

// An answer that comes is true: what it refuses was not carried out. What was carried out may be unknown to the client.
func TestSearchFaults(t *testing.T) {
	for _, test := range []struct {
		fault    faultproxy.Fault
		settings faultproxy.SearchSettings
		status   int // 0 if the connection breaks
		stored   bool
	}{
		{faultproxy.Throttled, faultproxy.SearchSettings{Throttled: 1}, 429, false},
		{faultproxy.Unavailable, faultproxy.SearchSettings{Unavailable: 1}, 503, false},
		{faultproxy.TooLarge, faultproxy.SearchSettings{TooLarge: 1}, 413, false},
		{faultproxy.ResetBefore, faultproxy.SearchSettings{ResetBefore: 1}, 0, false},
		{faultproxy.ResetAfter, faultproxy.SearchSettings{ResetAfter: 1}, 0, true},
		{faultproxy.HeldAnswer, faultproxy.SearchSettings{HeldAnswer: 1, MaxHold: time.Millisecond}, 0, true},
		{faultproxy.BlackHole, faultproxy.SearchSettings{BlackHole: 1, MaxHold: time.Millisecond}, 0, false},
		{faultproxy.Truncated, faultproxy.SearchSettings{Truncated: 1}, 200, true},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			p, node := searchNode(t, test.settings)
			body := bulk(2, faultproxy.SmallestTooLarge)
			resp, err := send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", body)
			if (err != nil) != (test.status == 0) || err == nil && resp.StatusCode != test.status {
				t.Errorf("got %v, %v", resp, err)
			}
			if test.fault == faultproxy.Truncated && (resp.ContentLength <= 0 || json.Valid([]byte(textOf(t, resp)))) {
				t.Errorf("the answer of %d bytes is whole", resp.ContentLength)
			}
			if stored := len(node.ids()) == 2; stored != test.stored {
				t.Errorf("stored: %v, want %v", node.ids(), test.stored)
			}
			if got := p.Counts(); got[test.fault] != 1 {
				t.Errorf("counted %v", got)
			}
			p.SetAll(false)
			resp, err = send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", body)
			if err != nil || resp.StatusCode != 200 || !json.Valid([]byte(textOf(t, resp))) {
				t.Errorf("with the faults off: %v, %v", resp, err)
			}
		})
	}
}

// Of a request some documents are refused, each in its place, and only those are not in the index.
func TestSearchThrottlesDocuments(t *testing.T) {
	p, node := searchNode(t, faultproxy.SearchSettings{ItemsThrottled: 1})
	resp, err := send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", bulk(5, 10))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Errors bool
		Items  []map[string]struct {
			ID     string `json:"_id"`
			Status int
			Error  struct{ Type, Reason string }
		}
	}
	if err := json.Unmarshal([]byte(textOf(t, resp)), &answer); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range answer.Items {
		got = append(got, fmt.Sprint(item["create"].ID, " ", item["create"].Status, " ", item["create"].Error.Type))
	}
	want := []string{"0 201 ", "1 429 es_rejected_execution_exception", "2 201 ", "3 201 ", "4 429 es_rejected_execution_exception"}
	if !slices.Equal(got, want) || !answer.Errors {
		t.Errorf("got %q, errors %v", got, answer.Errors)
	}
	if ids := node.ids(); !slices.Equal(ids, []string{"0", "2", "3"}) {
		t.Errorf("in the index: %v", ids)
	}
	if p.Counts()[faultproxy.ItemsThrottled] != 1 {
		t.Errorf("counted %v", p.Counts())
	}
}

// What a fault does not fit is forwarded as it is: a small request is never too large, a single document is not withheld.
func TestSearchFaultThatDoesNotFit(t *testing.T) {
	for name, test := range map[string]struct {
		settings     faultproxy.SearchSettings
		method, path string
		body         string
	}{
		"small":        {faultproxy.SearchSettings{TooLarge: 1}, http.MethodPost, "/_bulk", bulk(1, 10)},
		"one document": {faultproxy.SearchSettings{ItemsThrottled: 1}, http.MethodPost, "/_bulk", bulk(1, 10)},
		"no bulk":      {faultproxy.SearchSettings{ItemsThrottled: 1}, http.MethodGet, "/", ""},
		"one large":    {faultproxy.SearchSettings{TooLarge: 1}, http.MethodPost, "/_bulk", bulk(1, 2*faultproxy.SmallestTooLarge)},
		"no documents": {faultproxy.SearchSettings{ItemsThrottled: 1}, http.MethodPost, "/_bulk", "{}\n{}\n{}\n{}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := searchNode(t, test.settings)
			resp, err := send(t, newClient(t), test.method, p.URL()+test.path, test.body)
			if err != nil || resp.StatusCode != 200 || p.Counts()[faultproxy.Forwarded] != 1 {
				t.Errorf("got %v, %v; counted %v", resp, err, p.Counts())
			}
		})
	}
}

// A fault that is forced falls on the first request of its kind that it fits, and on no other.
func TestForce(t *testing.T) {
	p, _ := searchNode(t, faultproxy.SearchSettings{})
	had, _ := p.Force(faultproxy.ItemsThrottled, faultproxy.Bulk)
	post := func(target, body string) {
		t.Helper()
		if resp, err := send(t, newClient(t), http.MethodPost, p.URL()+target, body); err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	post("/_refresh", bulk(2, 1))
	post("/_bulk", bulk(1, 1))
	p.SetAll(false)
	post("/_bulk", bulk(2, 1))
	p.SetAll(true)
	select {
	case <-had:
		t.Fatalf("something has had it: %v", p.Counts())
	default:
	}
	post("/_bulk", bulk(2, 1))
	<-had
	post("/_bulk", bulk(2, 1))
	want := faultproxy.Counts{faultproxy.ItemsThrottled: 1, faultproxy.Forwarded: 3}
	if got := p.CountsOf(faultproxy.Bulk); !maps.Equal(got, want) {
		t.Errorf("of bulk requests: %v, want %v", got, want)
	}
	if got := p.Counts()[faultproxy.Forwarded]; got != 4 {
		t.Errorf("%d were forwarded", got)
	}
}

// A fault that fits nothing keeps no other from its request, and falls on nothing once it is withdrawn.
func TestForceSeveral(t *testing.T) {
	p, _ := searchNode(t, faultproxy.SearchSettings{})
	_, withdraw := p.Force(faultproxy.TooLarge, faultproxy.Bulk)
	throttled, _ := p.Force(faultproxy.ItemsThrottled, faultproxy.Bulk)
	for range 2 {
		if _, err := send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", bulk(2, 1)); err != nil {
			t.Fatal(err)
		}
	}
	<-throttled
	withdraw()
	resp, err := send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", bulk(2, faultproxy.SmallestTooLarge))
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("got %v, %v", resp, err)
	}
}

// A request is open from when it comes until its answer has gone, or it has been lost.
func TestOpen(t *testing.T) {
	for name, settings := range map[string]faultproxy.SearchSettings{"answered": {}, "lost": {ResetAfter: 1}} {
		t.Run(name, func(t *testing.T) {
			p, _ := searchNode(t, settings)
			var bulks, others int
			p.OnRequest(func(faultproxy.Phase, faultproxy.Kind, string) {
				bulks, others = p.Open(faultproxy.Bulk), p.Open(faultproxy.Other)
			})
			_, _ = send(t, newClient(t), http.MethodPost, p.URL()+"/_bulk", bulk(2, 1))
			p.Close()
			if bulks != 1 || others != 0 || p.Open(faultproxy.Bulk) != 0 {
				t.Errorf("%d bulk requests and %d others were open, and %d are", bulks, others, p.Open(faultproxy.Bulk))
			}
		})
	}
}

func TestSearchResets(t *testing.T) {
	const request = "POST /_bulk HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for name, settings := range map[string]faultproxy.SearchSettings{"before": {ResetBefore: 1}, "after": {ResetAfter: 1}} {
		t.Run(name, func(t *testing.T) {
			p, _ := searchNode(t, settings)
			if answer, err := exchange(t, p, request); answer != "" || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %q, %v; want a reset", answer, err)
			}
		})
	}
}

func TestSearchNodeLost(t *testing.T) {
	p := newSearch(t, deadBackend(t))
	if _, err := send(t, newClient(t), http.MethodGet, p.URL(), ""); err == nil || p.Counts()[faultproxy.NodeLost] != 1 {
		t.Errorf("got %v, counted %v", err, p.Counts())
	}
}

// The hook sees bulk requests before and after, whatever becomes of their answers.
func TestSearchHook(t *testing.T) {
	p, node := searchNode(t, faultproxy.SearchSettings{ItemsThrottled: 1})
	var seen []string
	p.OnRequest(func(phase faultproxy.Phase, kind faultproxy.Kind, _ string) {
		seen = append(seen, fmt.Sprint(phase, " ", kind, " ", len(node.ids())))
	})
	for _, target := range []string{"/_bulk", "/_refresh"} {
		if _, err := send(t, newClient(t), http.MethodPost, p.URL()+target, bulk(2, 1)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"before forward bulk 0", "before answer bulk 1", "before forward other 1", "before answer other 2"}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
}

func TestSearchSettingsValidate(t *testing.T) {
	for name, bad := range map[string]faultproxy.SearchSettings{
		"negative": {TooLarge: -0.1}, "above one": {Truncated: 1.1}, "together": {Throttled: 0.6, ItemsThrottled: 0.6}, "hold": {MaxHold: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if newSearch(t, "").Set(bad) == nil {
				t.Error("no error")
			}
		})
	}
}

// What the proxy reads of requests and answers comes from outside.
func FuzzSearchBulk(f *testing.F) {
	f.Add([]byte(bulk(3, 2)), []byte(`{"items":[{"create":{"status":201}},{"create":{"status":409}}]}`))
	f.Add([]byte("{}\n{}\n"), []byte(`{"items":7}`))
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		faultproxy.WithholdForTest(t, request, answer)
	})
}
