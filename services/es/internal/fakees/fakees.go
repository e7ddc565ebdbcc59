// Package fakees is test support: a server with the part of Elasticsearch's API that the sink uses, in memory, which can be
// told to fail, stall, half-accept, lose its answers and recover. Nothing but tests may import it.
//
// What it keeps to as the real ones do: create and its 409, answers in the order of the request, mappings that refuse a
// document, blocks, limits of a body's length, types that are there or not. The suite against real nodes is in e2e.
package fakees

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Server is the double.
type Server struct {
	server *httptest.Server

	mu       sync.Mutex
	indices  map[string]map[string]json.RawMessage // documents by index and id
	types    map[string]string                     // of documents that came with one, by id
	writes   map[string]int                        // how often a document was written
	made     int                                   // ids that the server made
	faults   []*fault
	bodies   int // bulk requests that arrived
	largest  int // bytes of one
	flying   int
	most     int // flying at once
	limit    int // of a body
	items    []func(Item) *Failure
	number   string
	product  string
	requests []*http.Request
	refusal  Action // of questions for documents
}

// Item is a document in a request.
type Item struct {
	Index, ID, Type string
	Document        json.RawMessage
}

// Failure is how an item fails.
type Failure struct {
	Status       int
	Kind, Reason string
}

// Action deals with a bulk request instead of the server, or around it.
type Action func(carryOut http.Handler, w http.ResponseWriter, r *http.Request)

type fault struct {
	left int
	do   Action
}

// Start runs a server until the test ends. It says that it is Elasticsearch 9.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		indices: map[string]map[string]json.RawMessage{}, types: map[string]string{}, writes: map[string]int{},
		limit: 100 << 20, number: "9.1.0",
	}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// URL is its address.
func (s *Server) URL() string { return s.server.URL }

// Close ends it early, as a cluster that is gone.
func (s *Server) Close() { s.server.Close() }

// Be makes it another server: "opensearch" or "" for Elasticsearch, and a version.
func (s *Server) Be(distribution, number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.product, s.number = distribution, number
}

// LimitBody makes it answer 413 to larger bulk requests.
func (s *Server) LimitBody(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = size
}

// Fail puts an action before the next bulk requests, -1 for all. The function it returns ends it.
func (s *Server) Fail(times int, do Action) (heal func()) {
	f := &fault{times, do}
	s.mu.Lock()
	s.faults = append(s.faults, f)
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		f.left = 0
		s.mu.Unlock()
	}
}

// FailItems has each document judged before it is indexed. The function it returns ends it.
func (s *Server) FailItems(judge func(Item) *Failure) (heal func()) {
	on := true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, func(i Item) *Failure {
		if !on {
			return nil
		}
		return judge(i)
	})
	return func() {
		s.mu.Lock()
		on = false
		s.mu.Unlock()
	}
}

// RefuseQuestions has an action answer those who ask for documents; nil ends it.
func (s *Server) RefuseQuestions(do Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = do
}

// Documents are those of an index, by id.
func (s *Server) Documents(index string) map[string]json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.indices[index])
}

// Indices are the numbers of documents, by index.
func (s *Server) Indices() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for name, documents := range s.indices {
		out[name] = len(documents)
	}
	return out
}

// Types are the types that documents came with, by id.
func (s *Server) Types() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.types)
}

// Writes is the highest number of times that one document was written.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for _, n := range s.writes {
		most = max(most, n)
	}
	return most
}

// Load is how many bulk requests arrived, the size of the largest, and how many were there at once.
func (s *Server) Load() (requests, largest, atOnce int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies, s.largest, s.most
}

// Requests are all that arrived, without their bodies.
func (s *Server) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Clone(r.Context()))
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/":
		s.info(w)
	case r.Method == http.MethodPost && r.URL.Path == "/_bulk":
		s.guarded(w, r)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/_refresh"):
		s.question(w, r, func(map[string]json.RawMessage) any { return map[string]any{"_shards": map[string]int{"failed": 0}} })
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/_search"):
		s.search(w, r)
	default:
		Answer(http.StatusNotFound, "not_found", "no such route")(nil, w, r)
	}
}

func (s *Server) info(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := map[string]string{"number": s.number}
	tagline := "You Know, for Search"
	if s.product != "" {
		version["distribution"] = s.product
		tagline = "The OpenSearch Project: https://opensearch.org/"
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"version": version, "tagline": tagline})
}

func (s *Server) guarded(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.bodies++
	s.flying++
	s.most = max(s.most, s.flying)
	var do Action
	for _, f := range s.faults {
		if f.left != 0 {
			f.left--
			do = f.do
			break
		}
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.flying--
		s.mu.Unlock()
	}()
	carryOut := http.HandlerFunc(s.bulk)
	if do == nil {
		carryOut(w, r)
		return
	}
	do(carryOut, w, r)
}

func (s *Server) bulk(w http.ResponseWriter, r *http.Request) {
	body, err := read(r)
	if err != nil {
		Answer(http.StatusBadRequest, "parse_exception", err.Error())(nil, w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(body))
	if len(body) > s.limit {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	items, err := parse(body)
	if err != nil {
		Answer(http.StatusBadRequest, "illegal_argument_exception", err.Error())(nil, w, r)
		return
	}
	answers := make([]any, len(items))
	failed := false
	for i, item := range items {
		answer := s.create(item)
		failed = failed || answer["error"] != nil
		answers[i] = map[string]any{"create": answer}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"took": 1, "errors": failed, "items": answers})
}

// question answers about an index that is there.
func (s *Server) question(w http.ResponseWriter, r *http.Request, answer func(documents map[string]json.RawMessage) any) {
	index, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	documents, there := s.indices[index]
	switch {
	case s.refusal != nil:
		s.refusal(nil, w, r)
	case !there:
		Answer(http.StatusNotFound, "index_not_found_exception", "no such index ["+index+"]")(nil, w, r)
	default:
		_ = json.NewEncoder(w).Encode(answer(documents))
	}
}

// search finds documents by their ids.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	var search struct {
		Query struct {
			IDs struct {
				Values []string `json:"values"`
			} `json:"ids"`
		} `json:"query"`
	}
	if err := json.NewDecoder(r.Body).Decode(&search); err != nil {
		Answer(http.StatusBadRequest, "parse_exception", err.Error())(nil, w, r)
		return
	}
	s.question(w, r, func(documents map[string]json.RawMessage) any {
		hits := []any{}
		for _, id := range search.Query.IDs.Values {
			if _, found := documents[id]; found {
				hits = append(hits, map[string]string{"_id": id})
			}
		}
		return map[string]any{"timed_out": false, "_shards": map[string]int{"failed": 0}, "hits": map[string]any{"hits": hits}}
	})
}

func read(r *http.Request) ([]byte, error) {
	from := r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(from)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(unpacked)
	}
	return io.ReadAll(from)
}

// parse reads NDJSON as strictly as a server does.
func parse(body []byte) ([]Item, error) {
	if !bytes.HasSuffix(body, []byte("\n")) {
		return nil, errors.New("the bulk request must be terminated by a newline [\\n]")
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, len(body)+1)
	var items []Item
	for lines.Scan() {
		var action struct {
			Create *struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
				Type  string `json:"_type"`
			} `json:"create"`
		}
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil || action.Create == nil {
			return nil, fmt.Errorf("malformed action/metadata line [%d]", 2*len(items)+1)
		}
		if !lines.Scan() {
			return nil, errors.New("an action without a document")
		}
		item := Item{Index: action.Create.Index, ID: action.Create.ID, Type: action.Create.Type}
		item.Document = bytes.Clone(lines.Bytes())
		items = append(items, item)
	}
	return items, lines.Err()
}

// create indexes one document, as the action of that name does.
func (s *Server) create(item Item) map[string]any {
	typed := s.product == "" && strings.HasPrefix(s.number, "7.")
	answer := map[string]any{"_index": item.Index, "_id": item.ID}
	fail := func(f *Failure) map[string]any {
		answer["status"] = f.Status
		answer["error"] = map[string]any{"type": f.Kind, "reason": f.Reason, "index": item.Index}
		return answer
	}
	if item.Type != "" && !typed {
		return fail(&Failure{http.StatusBadRequest, "illegal_argument_exception", "Action/metadata line contains an unknown parameter [_type]"})
	}
	for _, judge := range s.items {
		if f := judge(item); f != nil {
			return fail(f)
		}
	}
	if !json.Valid(item.Document) {
		return fail(&Failure{http.StatusBadRequest, "document_parsing_exception", "failed to parse"})
	}
	if item.ID == "" {
		s.made++
		item.ID = fmt.Sprintf("made-%d", s.made)
		answer["_id"] = item.ID
	}
	documents := s.indices[item.Index]
	if documents == nil {
		documents = map[string]json.RawMessage{}
		s.indices[item.Index] = documents
	}
	if _, there := documents[item.ID]; there {
		return fail(&Failure{http.StatusConflict, "version_conflict_engine_exception", "[" + item.ID + "]: version conflict, document already exists (current version [1])"})
	}
	documents[item.ID] = item.Document
	s.types[item.ID] = item.Type
	s.writes[item.Index+"/"+item.ID]++
	answer["status"] = http.StatusCreated
	return answer
}
