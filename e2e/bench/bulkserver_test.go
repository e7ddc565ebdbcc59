package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestBulkAnswer(t *testing.T) {
	const item = `{"create":{"_index":"i","_id":"a"}}` + "\n" + `{"x":1}` + "\n"
	for _, c := range []struct {
		name, body, answer string
		documents          int
		fails              bool
	}{
		{"two", item + strings.ReplaceAll(item, `"a"`, `"b"`), `{"errors":false,"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":201}}]}`, 2, false},
		{"none", "", `{"errors":false,"items":[]}`, 0, false},
		{"no id", "{\"create\":{}}\n{}\n", "", 0, true},
		{"no document", `{"create":{"_id":"a"}}` + "\n", "", 0, true},
		{"broken off", item + "{", "", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, documents, err := bulkAnswer(strings.NewReader(c.body))
			if string(answer) != c.answer || documents != c.documents || (err != nil) != c.fails {
				t.Errorf("got %s, %d, %v", answer, documents, err)
			}
		})
	}
}

func TestBulkServer(t *testing.T) {
	s, err := startBulkServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, c := range []struct {
		path, body string
		status     int
	}{{"/", "", 200}, {"/_bulk", `{"create":{"_id":"a"}}` + "\n{}\n", 200}, {"/_bulk", "{}\n", 400}} {
		answer, err := client.Post(s.url+c.path, "application/x-ndjson", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s %q is answered %d %s", c.path, c.body, answer.StatusCode, text)
		}
	}
	if got := s.documents.Load(); got != 1 {
		t.Errorf("%d documents are counted", got)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
