package faultproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
)

// oneIn is how many documents of a request there are to each that is withheld.
const oneIn = 3

// withhold forwards a bulk request without some of its documents, and answers those with 429 in their places.
func (p *Search) withhold(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision, items []bulkItem) {
	setBody(r, forwarded(items))
	r.Header.Del("Accept-Encoding") // the answer has to be read
	resp := p.ask(ctx, r, d)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		answer, err = splice(items, answer)
	}
	if err != nil {
		p.lose(r, d)
	}
	p.count(d)
	dropHopHeaders(resp.Header)
	resp.Header.Set("Content-Length", strconv.Itoa(len(answer)))
	give(w, resp, answer)
}

// setBody has a request forwarded with another body.
func setBody(r *http.Request, body []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// give answers with a body that is another than the node's.
func give(w http.ResponseWriter, resp *http.Response, body []byte) {
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body)
}

// bulkItem is a document of a bulk request: the two lines, and what the first says.
type bulkItem struct {
	lines    []byte
	action   string
	meta     map[string]any
	withheld bool
}

// splitBulk takes a bulk request of actions that have a document each apart. The second of each few is withheld.
func splitBulk(body []byte) ([]bulkItem, bool) {
	var items []bulkItem
	for len(body) > 0 {
		head, rest, headEnds := bytes.Cut(body, []byte{'\n'})
		document, rest, documentEnds := bytes.Cut(rest, []byte{'\n'})
		var action map[string]map[string]any
		if !headEnds || !documentEnds || json.Unmarshal(head, &action) != nil || len(action) != 1 {
			return nil, false
		}
		for name, meta := range action {
			items = append(items, bulkItem{
				lines: body[:len(head)+len(document)+2], action: name, meta: meta, withheld: len(items)%oneIn == 1,
			})
		}
		body = rest
	}
	return items, true
}

func forwarded(items []bulkItem) []byte {
	var body []byte
	for _, item := range items {
		if !item.withheld {
			body = append(body, item.lines...)
		}
	}
	return body
}

// splice puts the answers to what was withheld among the node's.
func splice(items []bulkItem, answer []byte) ([]byte, error) {
	var whole map[string]any
	if err := json.Unmarshal(answer, &whole); err != nil {
		return nil, err
	}
	given, _ := whole["items"].([]any)
	var all []any
	for _, item := range items {
		switch {
		case item.withheld:
			all = append(all, item.throttled())
		case len(given) > 0:
			all, given = append(all, given[0]), given[1:]
		}
	}
	whole["errors"], whole["items"] = true, append(all, given...)
	return json.Marshal(whole)
}

// throttled is the answer to a document for which a node has no room in its queue.
func (i bulkItem) throttled() any {
	answer := map[string]any{
		"status": http.StatusTooManyRequests,
		"error":  searchError{"es_rejected_execution_exception", "rejected execution: queue capacity reached"},
	}
	for _, name := range []string{"_index", "_id"} {
		if value, ok := i.meta[name]; ok {
			answer[name] = value
		}
	}
	return map[string]any{i.action: answer}
}
