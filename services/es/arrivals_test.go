package es

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/broker"
	"hydrant/shared/delivery"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

// arrivals are those of the messages of one batch, on both sides of each border in UTC: of an hour; of a day and an ISO week;
// of a month and year.
func arrivals() []string {
	return []string{
		"2018-12-30T22:59:59.999999999Z",
		"2018-12-30T23:00:00Z",
		"2018-12-30T23:59:59.999999999Z",
		"2018-12-31T00:00:00Z",
		"2018-12-31T23:59:59.999999999Z",
		"2019-01-01T00:00:00Z",
	}
}

// ofEachMessage are the records of each message. One in four is refused for good.
func ofEachMessage() []string { return []string{`{"n":0}`, `{"n":1}`, `{"n":"bad"}`, `{"n":3}`} }

// TestArrivals delivers one batch across all borders. Each record is in the index of its own arrival, or in the file, which names
// that index: at once, where a second attempt goes on from the middle, and where that gives up.
func TestArrivals(t *testing.T) {
	for _, rotation := range []struct {
		period types.AmazonopensearchserviceIndexRotationPeriod
		want   [6]string // by message
	}{
		{none, [6]string{"logs", "logs", "logs", "logs", "logs", "logs"}},
		{hour, [6]string{"logs-2018-12-30-22", "logs-2018-12-30-23", "logs-2018-12-30-23", "logs-2018-12-31-00", "logs-2018-12-31-23", "logs-2019-01-01-00"}},
		{day, [6]string{"logs-2018-12-30", "logs-2018-12-30", "logs-2018-12-30", "logs-2018-12-31", "logs-2018-12-31", "logs-2019-01-01"}},
		{week, [6]string{"logs-2018-w52", "logs-2018-w52", "logs-2018-w52", "logs-2019-w01", "logs-2019-w01", "logs-2019-w01"}},
		{month, [6]string{"logs-2018-12", "logs-2018-12", "logs-2018-12", "logs-2018-12", "logs-2018-12", "logs-2019-01"}},
	} {
		t.Run(string(rotation.period), func(t *testing.T) {
			t.Run("at once", func(t *testing.T) {
				s := arrived(t, rotation.period)
				_, err := s.inThrees().Deliver(t.Context(), s.attempt(s.batch()))
				check(t, err)
				s.wantPlaces(rotation.want[:], 18, 6)
			})
			t.Run("in two attempts", func(t *testing.T) {
				s := arrived(t, rotation.period)
				second := s.halfWay(time.Now())
				_, err := s.inThrees().Deliver(t.Context(), second)
				check(t, err)
				s.wantPlaces(rotation.want[:], 18, 6)
			})
			t.Run("given up", func(t *testing.T) {
				s := arrived(t, rotation.period)
				second := s.halfWay(time.Now().Add(-time.Hour))
				s.es.Fail(-1, fakees.Answer(http.StatusServiceUnavailable, "", ""))
				_, err := s.inThrees().Deliver(t.Context(), second)
				check(t, err)
				s.wantPlaces(rotation.want[:], 9, 15)
			})
		})
	}
}

// arrived is a delivery stream whose log has one message of each arrival.
func arrived(t *testing.T, rotation types.AmazonopensearchserviceIndexRotationPeriod) *deliveryStream {
	t.Helper()
	r := newRig(t)
	r.es.FailItems(rejects("bad"))
	s := r.stream("demo", func(d *types.AmazonopensearchserviceDestinationDescription) { d.IndexRotationPeriod = rotation })
	var messages []natstest.Message
	for _, text := range arrivals() {
		at, err := time.Parse(time.RFC3339Nano, text)
		check(t, err)
		messages = append(messages, s.message(at, ofEachMessage()...))
	}
	check(t, r.js.DeleteStream(t.Context(), s.log().JetStream()))
	cfg := broker.LogConfig(s.log(), s.doc.Retention(), 1)
	cfg.MaxAge = 0 // they are years old
	r.nats.Restore(cfg, messages...)
	return s
}

// inThrees is a destination that sends one request of three documents after the other, so that most have more than one message.
func (s *deliveryStream) inThrees() *destination {
	return s.destination(func(c *Config) { c.BulkRecords, c.BulkInFlight = 3, 1 })
}

// halfWay makes an attempt that the cluster ends after four requests, and returns the next. The batch failed first at a time.
func (s *deliveryStream) halfWay(since time.Time) delivery.Attempt {
	s.t.Helper()
	heal := s.es.Fail(-1, afterSome(4, fakees.Answer(http.StatusServiceUnavailable, "", "")))
	defer heal()
	a := s.attempt(s.batch())
	_, err := s.inThrees().Deliver(s.t.Context(), a)
	var e *delivery.Error
	if !errors.As(err, &e) || len(e.Progress) == 0 {
		s.t.Fatalf("the first attempt ended with %v", err)
	}
	a.Number, a.FailedSince, a.Progress = 2, since, e.Progress
	return a
}

// afterSome carries requests out, and then does something else.
func afterSome(requests int64, do fakees.Action) fakees.Action {
	var seen atomic.Int64
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) <= requests {
			carryOut.ServeHTTP(w, r)
			return
		}
		do(carryOut, w, r)
	}
}

// wantPlaces finds each record once: in the index of its message, or in the file with that index and its arrival.
func (s *deliveryStream) wantPlaces(indices []string, delivered, failed int) {
	s.t.Helper()
	lines := map[string]failedDocument{}
	for _, l := range s.failed() {
		lines[l.ESDocumentID] = l
	}
	found := 0
	for i, text := range arrivals() {
		at, err := time.Parse(time.RFC3339Nano, text)
		check(s.t, err)
		there := s.es.Documents(indices[i])
		for n, data := range ofEachMessage() {
			id := record.ID{Stream: s.doc.ID, Sequence: uint64(i + 1), Index: n}.String()
			what := fmt.Sprintf("record %d of %s", n, text)
			document, indexed := there[id]
			l, aside := lines[id]
			switch {
			case indexed && !aside:
				found++
				wantEqual(s.t, what, string(document), data)
			case aside && !indexed:
				wantEqual(s.t, what, string(l.RawData), data)
				wantEqual(s.t, "the index of "+what, l.ESIndexName, indices[i])
				wantEqual(s.t, "the arrival of "+what, l.ArrivalTimestamp, at.UnixMilli())
			default:
				s.t.Errorf("%s is in its index: %t, in the file: %t", what, indexed, aside)
			}
		}
	}
	all := 0
	for _, n := range s.es.Indices() {
		all += n
	}
	wantEqual(s.t, "the documents in their index", found, delivered)
	wantEqual(s.t, "the documents in any index", all, delivered)
	wantEqual(s.t, "the documents set aside", len(lines), failed)
	wantEqual(s.t, "how often one was written", s.es.Writes(), 1)
}
