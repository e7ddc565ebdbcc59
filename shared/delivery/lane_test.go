package delivery

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// gateway is a mutex that says what it is for.
type gateway struct{ sync.Mutex }

var errDown = &Error{Class: Permanent, Code: "S3.NoSuchBucket", Message: "The specified bucket does not exist."}

// resting is a configuration under which a lane that failed rests for longer than any test lasts.
func resting() Config {
	cfg := testConfig()
	cfg.MinDelay, cfg.MaxDelay = 2*time.Hour, 2*time.Hour
	cfg.PerStream = 1
	return cfg
}

func TestChangedConfigurationWakesALane(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Stream.Version == 1 {
			return Result{}, errDown
		}
		return succeed(ctx, a)
	})
	i.run(resting(), to)
	broken := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "the failure is logged", func() bool { return len(i.errors()) == 1 })
	behind := []batch.ID{i.cut(describe(stream, 1)), i.cut(describe(stream, 2))}
	if n := len(to.tried(behind[0])); n != 0 {
		t.Errorf("a lane that rests tried a batch %d times", n)
	}
	i.reconfigure("a")
	i.awaitOutcome(behind...)
	if n := len(to.tried(broken)); n != 1 {
		t.Errorf("the first batch was tried %d times, its delay is hours", n)
	}
}

// A change that comes while an attempt goes on is not lost to the attempt's failure.
func TestConfigurationThatChangesDuringAnAttempt(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	started, fail := make(chan struct{}), make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Stream.Version > 1 {
			return succeed(ctx, a)
		}
		started <- struct{}{}
		<-fail
		return Result{}, errDown
	})
	r := i.run(resting(), to)
	id := i.cut(describe(stream, 0))
	<-started
	i.reconfigure("a")
	natstest.WaitFor(t, "the view has it", func() bool { return r.view.Get("a").Version == 2 })
	close(fail)
	i.awaitOutcome(id)
	if got := i.outcomes(id)[0]; got.Attempts != 2 || got.Version != 2 {
		t.Errorf("written down is %+v", got)
	}
}

// A batch in work when the service is to stop has the grace to end.
func TestShutdownWaitsForTheGrace(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	started, finish := make(chan struct{}), make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		started <- struct{}{}
		<-finish
		return succeed(ctx, a)
	})
	r := i.run(testConfig(), to) // the grace is a minute
	id := i.cut(describe(stream, 0))
	<-started
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	select {
	case <-stopped:
		t.Error("it stopped with a batch in work")
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	<-stopped
	if got := i.outcomes(id); len(got) != 1 || i.waiting(stream) != 0 {
		t.Errorf("written down is %+v, %d wait", got, i.waiting(stream))
	}
}

// What the grace is too short for goes back at once, not after the ack wait, which is longer than any test here.
func TestShutdownHandsBackWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	started := make(chan struct{}, 10)
	endless := newDestination(func(ctx context.Context, _ Attempt) (Result, error) {
		started <- struct{}{}
		<-ctx.Done()
		return Result{}, &Error{Class: Retryable, Code: "S3.InternalError", Message: "cut off", Err: ctx.Err()}
	})
	cfg := testConfig()
	cfg.Grace = 10 * time.Millisecond
	cfg.Workers, cfg.PerStream = 1, 1
	other := i.stream("b")
	r := i.run(cfg, endless)
	ids := []batch.ID{i.cut(describe(stream, 0)), i.cut(describe(other, 0))}
	<-started
	natstest.WaitFor(t, "one is in work and one waits for the worker", func() bool { return i.handedOut(stream) && i.handedOut(other) })
	r.stop()
	to := newDestination(succeed)
	i.run(cfg, to)
	i.awaitOutcome(ids...)
	i.awaitAllAcknowledged(stream)
	i.awaitAllAcknowledged(other)
	if es := i.errors(); len(es) != 0 {
		t.Errorf("the owner of the stream is told of %+v", es)
	}
}

func TestStopWithoutNATS(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	started := make(chan struct{})
	cfg := testConfig()
	cfg.Grace = 10 * time.Millisecond
	r := i.run(cfg, newDestination(func(ctx context.Context, _ Attempt) (Result, error) {
		close(started)
		<-ctx.Done()
		return Result{}, ctx.Err()
	}))
	i.cut(describe(stream, 0))
	<-started
	i.server.Stop()
	r.stop()
	i.server.Restart()
}

// While NATS is away the lanes try on, and leave nothing behind; afterwards all goes on.
func TestRestartOfNATS(t *testing.T) {
	t.Parallel()
	i := install(t)
	streams := []names.Stream{"a", "b", "c"}
	to := newDestination(succeed)
	r := i.run(testConfig(), to)
	for _, name := range streams {
		i.awaitOutcome(i.cut(describe(i.stream(name), 0)))
	}
	natstest.WaitFor(t, "the catalog is read", func() bool { return len(r.view.All()) == len(streams) })
	before := r.conn.NumSubscriptions()
	i.server.Stop()
	natstest.WaitFor(t, "the client knows", func() bool { return !r.conn.IsConnected() })
	<-time.After(time.Second) // of tries
	if n := r.conn.NumSubscriptions(); n > before+len(streams) {
		t.Errorf("%d subscriptions, were %d", n, before)
	}
	i.server.Restart()
	for _, name := range streams {
		natstest.WaitFor(t, "the catalog is read", func() bool { return r.view.Freshen(t.Context()) == nil })
		i.awaitOutcome(i.cut(describe(r.view.Get(name), 1)))
	}
}

func TestDelay(t *testing.T) {
	r := &Runner{cfg: Config{MinDelay: 100 * time.Millisecond, MaxDelay: 5 * time.Second}}
	for _, c := range []struct {
		n    int
		full time.Duration
	}{
		{-1, 100 * time.Millisecond}, {0, 100 * time.Millisecond}, {1, 100 * time.Millisecond}, {2, 200 * time.Millisecond},
		{3, 400 * time.Millisecond}, {6, 3200 * time.Millisecond}, {7, 5 * time.Second}, {100, 5 * time.Second}, {1 << 30, 5 * time.Second},
	} {
		different := map[time.Duration]bool{}
		for range 200 {
			d := r.delay(c.n)
			if d < c.full/2 || d > c.full {
				t.Fatalf("after failure %d: %s, want %s to %s", c.n, d, c.full/2, c.full)
			}
			different[d] = true
		}
		if len(different) < 20 {
			t.Errorf("after failure %d: only %d different delays", c.n, len(different))
		}
	}
	long := &Runner{cfg: Config{MinDelay: 24 * time.Hour, MaxDelay: 1000 * time.Hour}}
	for n := range 64 {
		if d := long.delay(n); d < 12*time.Hour || d > 1000*time.Hour {
			t.Errorf("after failure %d of a long delay: %s", n, d)
		}
	}
}

func TestLaneState(t *testing.T) {
	r := &Runner{cfg: Config{PerStream: 3, MinDelay: time.Hour, MaxDelay: 10 * time.Hour}}
	fresh := func() *lane { return newLane(r, "a", "x", func() {}) }
	waits := func(t *testing.T, l *lane) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		entered := make(chan bool, 1)
		go func() { entered <- l.await(ctx) }()
		select {
		case <-entered:
			t.Error("it does not wait")
		case <-time.After(20 * time.Millisecond):
		}
		cancel()
		<-entered
	}
	t.Run("as many as allowed", func(t *testing.T) {
		l := fresh()
		for range 3 {
			if !l.await(t.Context()) {
				t.Error("not let in")
			}
		}
		waits(t, l)
		l.release()
		if !l.await(t.Context()) {
			t.Error("not let in after another left")
		}
	})
	t.Run("rests after a failure", func(t *testing.T) {
		l := fresh()
		if d := l.failed(Retryable, 1, 3); d < 2*time.Hour || d > 4*time.Hour {
			t.Errorf("the batch waits for %s", d)
		}
		if d := l.failed(Permanent, 1, 1); d < 5*time.Hour || d > 10*time.Hour {
			t.Errorf("after a permanent failure the batch waits for %s", d)
		}
		waits(t, l)
		l.wake()
		if !l.await(t.Context()) {
			t.Error("not let in after a wake-up")
		}
		waits(t, l) // one at a time until something succeeds
		l.succeeded()
		for range 2 {
			if !l.await(t.Context()) {
				t.Error("not let in after a success")
			}
		}
	})
	t.Run("failures beside each other count once", func(t *testing.T) {
		l := fresh()
		for range 10 {
			l.failed(Retryable, 1, 1)
		}
		if l.failures != 1 {
			t.Errorf("%d failures in a row", l.failures)
		}
	})
	t.Run("a wake-up that comes first is not lost", func(t *testing.T) {
		for range 200 {
			l := fresh()
			l.failed(Retryable, 1, 1)
			go l.wake()
			if !l.await(t.Context()) {
				t.Fatal("not let in")
			}
		}
	})
	t.Run("a release that comes first is not lost", func(t *testing.T) {
		for range 200 {
			l := fresh()
			l.working = 3
			go l.release()
			if !l.await(t.Context()) {
				t.Fatal("not let in")
			}
		}
	})
}

func TestClassify(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	other := errors.New("other")
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want Class
		code string
	}{
		{"of the destination", t.Context(), errDown, Permanent, "S3.NoSuchBucket"},
		{"unknown", t.Context(), other, Retryable, internalError},
		{"while stopping", stopped, errDown, ShuttingDown, internalError},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := classify(c.ctx, c.err); got.Class != c.want || got.Code != c.code || !errors.Is(got, c.err) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
