package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// failing is a number of bytes of which 3 records were set aside.
const failing = 97

// entry is what a sink publishes of a batch.
func entry(t *testing.T, id string, bytes int64, outcome batch.Outcome) []byte {
	t.Helper()
	d := batch.Delivery{Batch: batch.ID(id), Stream: "demo", StreamID: "x", Leg: names.LegS3, Outcome: outcome, Bytes: bytes}
	if bytes == failing {
		d.FailedRecords, d.FailedBytes = 3, 3
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBacklogAdmitsUpToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog(100, 0)
		for range 2 {
			if !b.admit(t.Context(), 50) {
				t.Fatal("refused below the bound")
			}
			b.ack(50)
		}
		admitted := make(chan bool, 1)
		go func() { admitted <- b.admit(t.Context(), 50) }()
		synctest.Wait()
		select {
		case <-admitted:
			t.Fatal("admitted beyond the bound")
		default:
		}
		b.deliver(entry(t, "one", 50, batch.Delivered), time.Now())
		if !<-admitted {
			t.Error("refused after a delivery")
		}
		if got := b.undelivered(); got != 50 {
			t.Errorf("%d bytes are undelivered, want 50", got)
		}
	})
}

func TestBacklogCountsABatchOnce(t *testing.T) {
	b := newBacklog(0, 0)
	b.ack(100)
	for range 2 {
		b.deliver(entry(t, "one", 60, batch.Delivered), time.Now())
	}
	if got := b.undelivered(); got != 40 || len(b.history()) != 1 {
		t.Errorf("%d bytes are undelivered after %d deliveries", got, len(b.history()))
	}
}

func TestBacklogEndsAtAWholeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog(0, 4)
		b.endAt(time.Now().Add(time.Second))
		calls := 0
		for ; b.admit(t.Context(), 1); calls++ {
			<-time.After(300 * time.Millisecond)
		}
		if calls != 4 {
			t.Errorf("%d calls were admitted, want 4", calls)
		}
	})
}

func TestBacklogRefusesWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if newBacklog(1, 0).admit(ctx, 2) {
		t.Error("admitted")
	}
}

func TestBacklogDrains(t *testing.T) {
	for _, c := range []struct {
		name    string
		outcome batch.Outcome
		bytes   int64
		want    string
	}{
		{"all delivered", batch.Delivered, 100, ""},
		{"set aside", batch.SetAside, 100, "was not delivered: set_aside"},
		{"not all", batch.Delivered, 60, "40 bytes of 100"},
		{"some records set aside", batch.Delivered, failing, "3 records were not delivered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBacklog(0, 0)
				b.ack(100)
				go func() { b.deliver(entry(t, "one", c.bytes, c.outcome), time.Now()) }()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := b.drained(ctx)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("the error is %v, want %q", err, c.want)
				}
			})
		})
	}
}
