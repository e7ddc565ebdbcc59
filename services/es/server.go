package es

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json"

	"hydrant/shared/objectstore"
)

// mostInfo bounds what is read of a server's answer about itself, and of one that refuses a request.
const mostInfo = 64 << 10

// version is which server answers.
type version struct {
	openSearch   bool
	major, minor int // 0 where the server does not say
}

// types tells whether documents have types. OpenSearch has none, and Elasticsearch has none from version 8 on.
func (v version) types() bool { return !v.openSearch && v.major > 0 && v.major < 8 }

// hidesSource tells whether the server can be asked to leave documents out of its errors.
func (v version) hidesSource() bool {
	return !v.openSearch && (v.major > 8 || v.major == 8 && v.minor >= 18)
}

func (v version) String() string {
	product := "Elasticsearch"
	if v.openSearch {
		product = "OpenSearch"
	}
	return fmt.Sprintf("%s %d.%d", product, v.major, v.minor)
}

// server is one server, as one role: its requests, its pace and what is known of it.
type server struct {
	transport esapi.Transport
	pace      *pace

	mu   sync.Mutex
	is   version
	seen bool
}

// look returns which server it is. It is asked once, and again after something failed: it may have been upgraded, or another
// may be behind the address by now. One that does not let itself be asked, but takes bulk requests, is taken for one without
// types. A look changes nothing, so that it may be repeated, and its answer lost.
func (s *server) look(ctx context.Context) (version, error) {
	s.mu.Lock()
	is, seen := s.is, s.seen
	s.mu.Unlock()
	if seen {
		return is, nil
	}
	is, err := s.ask(ctx)
	if err != nil {
		return version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is, s.seen = is, true
	return is, nil
}

// doubt makes the next look ask again.
func (s *server) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = false
}

func (s *server) ask(ctx context.Context) (version, error) {
	answer, err := esapi.InfoRequest{}.Do(ctx, s.transport)
	if err != nil {
		return version{}, &refusal{err: err}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostInfo))
	if err != nil {
		return version{}, &refusal{err: err}
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return readVersion(body), nil
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return version{}, nil // it answers, and somebody decided that this is not for everyone
	}
	return version{}, newRefusal(answer.StatusCode, answer.Header, body)
}

// readVersion reads the answer to GET /. One that cannot be read is of a server that is not known, which has no types.
func readVersion(body []byte) version {
	var info struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
		Tagline string `json:"tagline"`
	}
	if json.Unmarshal(body, &info) != nil {
		return version{}
	}
	// OpenSearch can be set to give Elasticsearch's version number, and not to hide its tagline.
	v := version{openSearch: info.Version.Distribution == "opensearch" || strings.Contains(info.Tagline, "OpenSearch")}
	major, rest, _ := strings.Cut(info.Version.Number, ".")
	minor, _, _ := strings.Cut(rest, ".")
	v.major, _ = strconv.Atoi(major)
	v.minor, _ = strconv.Atoi(minor)
	return v
}

// refusal is a request that was not carried out, or of which nobody knows. What is not known counts as not done: a repeat does
// no harm.
type refusal struct {
	status int    // 0 without an answer
	kind   string // of Elasticsearch's error
	reason string // its words, or those of whoever answered
	after  string // Retry-After
	err    error  // without an answer
}

func newRefusal(status int, header http.Header, body []byte) *refusal {
	r := &refusal{status: status, after: header.Get("Retry-After")}
	r.kind, r.reason = readError(body)
	return r
}

// readError reads the error in an answer's body: Elasticsearch's form, that of AWS, or whatever a proxy has to say.
func readError(body []byte) (kind, reason string) {
	var answer struct {
		Error   any    `json:"error"`
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", bounded(strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), 4*mostReason)]), "")))
	}
	switch e := answer.Error.(type) {
	case string:
		return "", bounded(e)
	case map[string]any:
		kind, _ = e["type"].(string)
		reason, _ = e["reason"].(string)
		return bounded(kind), bounded(withoutSource(reason))
	}
	return "", bounded(answer.Message + answer.Upper)
}

func (r *refusal) Error() string {
	switch {
	case r.err != nil:
		return "no answer: " + r.err.Error()
	case r.kind == "" && r.reason == "":
		return fmt.Sprintf("status %d", r.status)
	case r.kind == "":
		return fmt.Sprintf("status %d: %s", r.status, r.reason)
	}
	return fmt.Sprintf("status %d: %s: %s", r.status, r.kind, r.reason)
}

// Unwrap returns why there is no answer.
func (r *refusal) Unwrap() error { return r.err }

// tooLarge tells that the body has to be smaller.
func (r *refusal) tooLarge() bool { return r.status == http.StatusRequestEntityTooLarge }

// noExplicitIndex tells the answer of a server with rest.action.multi.allow_explicit_index: false.
func (r *refusal) noExplicitIndex() bool {
	return r.status == http.StatusBadRequest && strings.Contains(strings.ToLower(r.reason), "explicit index")
}

// blocked tells that an index, or all of them, is read-only for now: with 403, or with 429 where it is so since a disk is nearly
// full. A cluster that is not whole calls itself blocked as well, with 503.
func (r *refusal) blocked() bool {
	if r.status != http.StatusForbidden && r.status != http.StatusTooManyRequests {
		return false
	}
	for _, kind := range []string{"cluster_block_exception", "index_create_block_exception"} {
		if r.kind == kind || strings.Contains(r.reason, kind) {
			return true
		}
	}
	return false
}

// lasting tells that every other request will be refused likewise until somebody changes a setting.
func (r *refusal) lasting() bool {
	if r.err != nil {
		return objectstore.Refused(r.err) // STS does not let us be who may ask
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		return false
	case http.StatusForbidden:
		return !r.blocked()
	}
	return r.status >= 300 && r.status < 500
}
