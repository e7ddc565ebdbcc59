package producer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// fakeFirehose speaks the part of the API that producers use. Like the service, it stores a call with an invocation id
// that it has seen before no second time, and gives the same answer.
type fakeFirehose struct {
	mu sync.Mutex
	// stored holds the records of each delivery stream in the order of arrival.
	stored   map[string][][]byte
	answers  map[string]any
	attempts map[string]int
	calls    []call

	// refuse, if set, gives the status and body of an answer to an attempt that stores nothing; status 0 accepts it.
	refuse func(attempt int) (int, string)
	// refuseRecord, if set, tells which records of a batch are answered with an ErrorCode.
	refuseRecord func(i int) bool
	// spoil, if set, changes an answer.
	spoil func(answer map[string]any)
}

// call is one call as the fake saw it first.
type call struct {
	operation string
	sizes     []int
}

func newFake() *fakeFirehose {
	return &fakeFirehose{
		stored: make(map[string][][]byte), answers: make(map[string]any), attempts: make(map[string]int),
	}
}

type record struct{ Data []byte }

type input struct {
	DeliveryStreamName string
	Record             *record
	Records            []record
}

func (f *fakeFirehose) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "Firehose_20150804.")
	id := r.Header.Get("Amz-Sdk-Invocation-Id")
	var in input
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || id == "" {
		reply(w, http.StatusBadRequest, failure("SerializationException"))
		return
	}
	f.attempts[id]++
	if f.refuse != nil {
		if status, body := f.refuse(f.attempts[id]); status != 0 {
			reply(w, status, body)
			return
		}
	}
	if f.answers[id] == nil {
		f.answers[id] = f.carryOut(operation, in)
	}
	text, err := json.Marshal(f.answers[id])
	if err != nil {
		panic(err)
	}
	reply(w, http.StatusOK, string(text))
}

func (f *fakeFirehose) carryOut(operation string, in input) map[string]any {
	c := call{operation: operation}
	records := in.Records
	if operation == "PutRecord" {
		records = []record{*in.Record}
	}
	var responses []any
	failed := 0
	for i, record := range records {
		c.sizes = append(c.sizes, len(record.Data))
		if f.refuseRecord != nil && f.refuseRecord(i) {
			failed++
			responses = append(responses, map[string]any{
				"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down.",
			})
			continue
		}
		f.stored[in.DeliveryStreamName] = append(f.stored[in.DeliveryStreamName], record.Data)
		recordID := fmt.Sprintf("%s/%d", in.DeliveryStreamName, len(f.stored[in.DeliveryStreamName]))
		responses = append(responses, map[string]any{"RecordId": recordID})
	}
	f.calls = append(f.calls, c)
	answer := map[string]any{"FailedPutCount": failed, "RequestResponses": responses, "Encrypted": false}
	if operation == "PutRecord" {
		answer = responses[0].(map[string]any)
	}
	if f.spoil != nil {
		f.spoil(answer)
	}
	return answer
}

func failure(code string) string {
	return `{"__type":"` + code + `","message":"told to"}`
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// Do makes the fake an HTTP client that answers without a network, so that it can be used where time is simulated.
func (f *fakeFirehose) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	f.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}
