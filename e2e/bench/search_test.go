package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/record"
	"hydrant/shared/recordlog"
)

func descriptor(t *testing.T, leg names.Leg, first, last uint64) []byte {
	t.Helper()
	data, err := json.Marshal(batch.Descriptor{
		Format: batch.Format, Stream: "s", StreamID: "abcdefghijklmnop", Version: 1, Leg: leg, First: first, Last: last, Bytes: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCutsCountEachBatchOfTheirLegOnce(t *testing.T) {
	c := &cuts{leg: names.LegES}
	c.add(descriptor(t, names.LegES, 1, 11))
	c.add(descriptor(t, names.LegES, 1, 11)) // again
	c.add(descriptor(t, names.LegS3, 1, 11))
	c.add(descriptor(t, names.LegES, 12, 22))
	got, err := c.reach(t.Context(), 20)
	if err != nil || len(got) != 2 {
		t.Errorf("%d batches, %v", len(got), err)
	}
	if _, err := c.reach(t.Context(), 15); err == nil || !strings.Contains(err.Error(), "15 bytes were acknowledged, and 20 are in batches") {
		t.Errorf("too many bytes give %v", err)
	}
	c.add([]byte("{"))
	if _, err := c.reach(t.Context(), 30); err == nil {
		t.Error("a descriptor that cannot be read was ignored")
	}
}

func TestDocumentsHaveTheIDsOfTheirRecords(t *testing.T) {
	m := recordlog.Message{Payload: []byte("{\"a\":1}\n{}\n"), Lengths: []int{8, 3}}
	got := appendDocuments(nil, record.ID{Stream: "abcdefghijklmnop", Sequence: 7}, m)
	if len(got) != 2 || string(got[0].body) != `{"a":1}` || string(got[1].body) != `{}` {
		t.Fatalf("the documents are %+v", got)
	}
	for index, d := range got {
		want := record.ID{Stream: "abcdefghijklmnop", Sequence: 7, Index: index}.String()
		if d.id != want {
			t.Errorf("document %d has the id %s, want %s", index, d.id, want)
		}
	}
}

// A comparison with documents that were not indexed would flatter whoever did not index them.
func TestBulkIndexerFailsWhereADocumentDoes(t *testing.T) {
	for _, tc := range []struct {
		name, status, says string
		code               int
	}{
		{"all created", "201", "", http.StatusOK},
		{"refused", "429", "created 0 of 2 documents", http.StatusOK},
		{"there already", "409", "created 0 of 2 documents", http.StatusOK},
		{"the whole request refused", "201", "", http.StatusServiceUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				documents := strings.Count(string(body), "\n") / 2 // of the two, as many as its worker got
				w.WriteHeader(tc.code)
				item := `{"create":{"status":` + tc.status + `}}`
				_, _ = fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(slices.Repeat([]string{item}, documents), ","))
			}))
			defer node.Close()
			b, err := newBulkIndexer(node.URL, "index")
			if err != nil {
				t.Fatal(err)
			}
			err = b.index(t.Context(), []document{{"1", []byte("{}")}, {"2", []byte("{}")}})
			good := tc.status == "201" && tc.code == http.StatusOK
			if (err == nil) != good || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
