package delivery

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func keepingConfig() Config {
	cfg := testConfig()
	cfg.KeepRetries = true
	return cfg
}

func failWith(progress string) error {
	e := &Error{Class: Retryable, Code: "ES.ServiceException", Message: "It failed.", Err: errors.New("no shard")}
	if progress != "" {
		e.Progress = []byte(progress)
	}
	return e
}

// failing is a destination that fails with its attempt's number as progress until told otherwise.
func failing() *destination {
	return newDestination(func(_ context.Context, a Attempt) (Result, error) {
		return Result{}, failWith(strings.Repeat("x", a.Number))
	})
}

// awaitAttempts returns the attempts at a batch when there are so many.
func (i *installation) awaitAttempts(to *destination, id batch.ID, n int) []Attempt {
	i.t.Helper()
	natstest.WaitFor(i.t, "enough attempts", func() bool { return len(to.tried(id)) >= n })
	return to.tried(id)
}

// What an attempt is told is what the last one that failed left, whoever that was and whatever JetStream counts.
func TestRetriesSurvive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(i *installation, id batch.ID)
	}{
		{"another replica", func(*installation, batch.ID) {}},
		{"NATS is started again", func(i *installation, _ batch.ID) {
			i.server.Restart()
			natstest.WaitFor(i.t, "the test is connected", i.js.Conn().IsConnected)
		}},
		{"the consumer is made anew, and counts from 1", func(i *installation, _ batch.ID) {
			d, err := i.catalog.Read(i.t.Context(), "a")
			if err == nil {
				err = i.js.DeleteConsumer(i.t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, "a", d.ID))
			}
			if err != nil {
				i.t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			stream := i.stream("a")
			cfg := keepingConfig()
			cfg.AckWait = 5 * time.Second // a NATS that is started again has forgotten the delay
			before := failing()
			r := i.run(cfg, before)
			id := i.cut(describe(stream, 0))
			i.awaitAttempts(before, id, 4)
			if k := i.kept(i.retries(), id); k.Stream != "a" {
				t.Errorf("kept is %+v, which does not say whose batch it is", k.retry)
			}
			r.stop() // the process ends
			c.change(i, id)
			after := failing()
			i.run(cfg, after)
			i.awaitAttempts(after, id, 3)
			after.does(succeed)
			i.awaitOutcome(id)
			i.awaitAllAcknowledged(stream)

			all := append(before.tried(id), after.tried(id)...)
			if a := all[0]; !a.FailedSince.IsZero() || a.Progress != nil || a.Number != 1 {
				t.Errorf("the first attempt is told %+v", a)
			}
			for n, a := range all[1:] {
				if a.FailedSince.IsZero() || !a.FailedSince.Equal(all[1].FailedSince) {
					t.Errorf("attempt %d: failed since %s, want %s", n+2, a.FailedSince, all[1].FailedSince)
				}
				if a.Number <= all[n].Number || len(a.Progress) != all[n].Number {
					t.Errorf("attempt %d is told %d, with the progress %q; the last was %d", n+2, a.Number, a.Progress, all[n].Number)
				}
			}
			if got, last := i.outcomes(id)[0].Attempts, all[len(all)-1].Number; got < last {
				t.Errorf("written down are %d attempts, want %d", got, last)
			}
			natstest.WaitFor(t, "nothing is kept after the outcome", func() bool { return i.keptNow() == 0 })
		})
	}
}

// A worker that lost its batch and wakes after another one failed changes nothing of what that left.
func TestLateWorkerChangesNothing(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	proxy := i.server.Proxy()
	cfg := keepingConfig()
	cfg.AckWait = time.Second
	late, goOn := make(chan Attempt), make(chan struct{})
	asleep := newDestination(func(_ context.Context, a Attempt) (Result, error) {
		late <- a
		<-goOn
		return Result{}, failWith("late") // as one that does not ask whether it has the batch
	})
	sleeper := i.runOn(proxy.Conn(), cfg, asleep, nil)
	id := i.cut(describe(stream, 0))
	a := <-late
	proxy.Stall()
	natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })

	release := make(chan struct{})
	var calls atomic.Int64
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		switch calls.Add(1) {
		case 1:
			return Result{}, failWith("newer")
		case 2:
			<-release
			return Result{}, failWith("") // leaves the progress as it is
		}
		return succeed(ctx, a)
	})
	i.run(cfg, to)
	second := i.awaitAttempts(to, id, 2)[1]
	proxy.Resume()
	natstest.WaitFor(t, "the late one is connected", sleeper.conn.IsConnected)
	asleep.does(func(context.Context, Attempt) (Result, error) { return Result{}, ErrNotHeld }) // it leaves the rest to the other
	close(goOn)
	natstest.WaitFor(t, "the late failure is refused", func() bool {
		return strings.Contains(sleeper.log.String(), errOvertaken.Error())
	})
	sleeper.stop()
	close(release)
	i.awaitOutcome(id)
	third := to.tried(id)[2]
	if second.FailedSince.IsZero() || !third.FailedSince.Equal(second.FailedSince) || string(third.Progress) != "newer" {
		t.Errorf("after the late failure an attempt is told %s and %q; before, %s", third.FailedSince, third.Progress, second.FailedSince)
	}
	natstest.WaitFor(t, "nothing is kept after the outcome", func() bool { return i.keptNow() == 0 })
}

// A batch of which nobody knows whether it failed before is not tried.
func TestRetriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, log string
		harm, fix func(i *installation, id batch.ID)
	}{
		{
			"the bucket is gone", "not known whether it failed before",
			func(i *installation, _ batch.ID) {
				if err := i.js.DeleteStream(i.t.Context(), "KV_"+names.RetriesBucket); err != nil {
					i.t.Fatal(err)
				}
			},
			func(i *installation, _ batch.ID) { i.prepare() },
		},
		{
			"the entry is of a newer version", "newer version",
			func(i *installation, id batch.ID) { i.put(id, `{"format":2}`) },
			func(i *installation, id batch.ID) {
				if err := i.retries().remove(i.t.Context(), id); err != nil {
					i.t.Fatal(err)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			stream := i.stream("a")
			to := newDestination(succeed)
			r := i.run(keepingConfig(), to)
			i.awaitOutcome(i.cut(describe(stream, 0))) // it runs, and has opened the bucket
			d := describe(stream, 1)
			c.harm(i, d.ID())
			id := i.cut(d)
			natstest.WaitFor(t, "handed back more than once", func() bool { return strings.Count(r.log.String(), c.log) > 1 })
			if n := len(to.tried(id)); n != 0 || len(i.outcomes(id)) != 0 {
				t.Errorf("tried %d times", n)
			}
			c.fix(i, id)
			i.awaitOutcome(id)
			i.awaitAllAcknowledged(stream)
		})
	}
}

// What cannot be read because somebody damaged it counts as a failure when it was stored.
func TestDamagedEntryIsNoFirstAttempt(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	d := describe(stream, 0)
	i.put(d.ID(), "hello")
	want := i.kept(i.retries(), d.ID()).FirstFailure
	to := failing()
	r := i.run(keepingConfig(), to)
	i.cut(d)
	for n, a := range i.awaitAttempts(to, d.ID(), 3) {
		if !a.FailedSince.Equal(want) {
			t.Errorf("attempt %d: failed since %s, want %s", n+1, a.FailedSince, want)
		}
	}
	if n := strings.Count(r.log.String(), "it cannot be read"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
	to.does(succeed)
	i.awaitOutcome(d.ID())
}

// A failure that cannot be written down is tried again like any other.
func TestFailureThatCannotBeKept(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	trying, goOn := make(chan struct{}), make(chan struct{})
	to := newDestination(func(context.Context, Attempt) (Result, error) {
		trying <- struct{}{}
		<-goOn
		return Result{}, failWith("x")
	})
	r := i.run(keepingConfig(), to)
	id := i.cut(describe(stream, 0))
	<-trying
	to.does(succeed)
	if err := i.js.DeleteStream(t.Context(), "KV_"+names.RetriesBucket); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	natstest.WaitFor(t, "the log says so", func() bool {
		return strings.Contains(r.log.String(), "failure not kept: the batch may be retried for longer")
	})
	i.prepare()
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

func TestProgressIsBounded(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	largest := bytes.Repeat([]byte{0xff}, MostProgress)
	given := [][]byte{[]byte("small"), append(largest, 1), largest, nil, {}}
	told := [][]byte{nil, []byte("small"), []byte("small"), largest, largest, nil}
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number > len(given) {
			return succeed(ctx, a)
		}
		e := &Error{Class: Retryable, Code: "ES.ServiceException", Message: "It failed.", Progress: given[a.Number-1]}
		return Result{}, e
	})
	r := i.run(keepingConfig(), to)
	id := i.cut(describe(stream, 0))
	i.awaitOutcome(id)
	all := to.tried(id)
	if len(all) != len(told) {
		t.Fatalf("%d attempts, want %d", len(all), len(told))
	}
	for n, a := range all {
		if !bytes.Equal(a.Progress, told[n]) {
			t.Errorf("attempt %d is given %d bytes, want %d", n+1, len(a.Progress), len(told[n]))
		}
		if !a.FailedSince.Equal(all[1].FailedSince) && n > 0 {
			t.Errorf("attempt %d: failed since %s", n+1, a.FailedSince)
		}
	}
	if n := strings.Count(r.log.String(), "it is too large"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
}

// An attempt that was given up says nothing of the destination.
func TestGivenUpIsNoFailure(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	cfg := keepingConfig()
	cfg.Grace = time.Millisecond
	trying := make(chan struct{})
	to := newDestination(func(ctx context.Context, _ Attempt) (Result, error) {
		trying <- struct{}{}
		<-ctx.Done()
		return Result{}, failWith("x")
	})
	r := i.run(cfg, to)
	id := i.cut(describe(stream, 0))
	<-trying
	r.stop()
	if n := i.keptNow(); n != 0 {
		t.Errorf("%d failures are kept", n)
	}
	to.does(succeed)
	i.run(cfg, to)
	i.awaitOutcome(id)
	if a := to.tried(id)[1]; !a.FailedSince.IsZero() {
		t.Errorf("failed since %s", a.FailedSince)
	}
}

func TestRetriesAreNotKeptUnlessAskedFor(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	to := failing()
	i.run(testConfig(), to)
	id := i.cut(describe(stream, 0))
	for n, a := range i.awaitAttempts(to, id, 3) {
		if !a.FailedSince.IsZero() || a.Progress != nil {
			t.Errorf("attempt %d is told %s, %q", n+1, a.FailedSince, a.Progress)
		}
	}
	to.does(succeed)
	i.awaitOutcome(id)
	if n := i.keptNow(); n != 0 {
		t.Errorf("%d entries", n)
	}
}

// The one late write that succeeds is the first of a batch that has its outcome already. If the batch comes once more, the
// destination says again what became of it, and nothing is left.
func TestLateFirstFailureAfterTheOutcome(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	d := describe(stream, 0)
	to := newDestination(succeed)
	i.run(keepingConfig(), to)
	i.awaitOutcome(i.cut(d))
	if err := i.retries().write(t.Context(), d.ID(), kept{}, retry{Attempts: 1, Progress: []byte("late")}); err != nil {
		t.Fatal(err)
	}
	i.cut(d)
	again := i.awaitAttempts(to, d.ID(), 2)[1]
	if again.FailedSince.IsZero() || string(again.Progress) != "late" {
		t.Errorf("the attempt is told %s, %q", again.FailedSince, again.Progress)
	}
	natstest.WaitFor(t, "nothing is left", func() bool { return i.keptNow() == 0 })
	if got := i.outcomes(d.ID()); len(got) != 2 || got[0].Outcome != got[1].Outcome {
		t.Errorf("the outcomes are %+v", got)
	}
}
