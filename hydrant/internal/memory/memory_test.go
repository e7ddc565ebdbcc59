package memory

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mb = 1 << 20

func TestLimitGivesWay(t *testing.T) {
	var set []int64
	k := &Keeper{base: 1000 * mb, runtime: runtime{limit: func(n int64) { set = append(set, n/mb) }}}
	for _, live := range []uint64{100, 700, 1000, 1010, 2000, 1900, 100, 100} {
		k.adapt(reading{live: live * mb})
	}
	if want := []int64{1000, 1250, 2500, 1000}; !slices.Equal(set, want) {
		t.Errorf("the limits were %d MB, want %d", set, want)
	}
}

// Memory goes back a few times after each burst, and not while there is work.
func TestGivesBackWhenIdle(t *testing.T) {
	var freed int
	var now reading
	k := &Keeper{base: mb, runtime: runtime{
		read: func() reading { return now }, limit: func(int64) {}, free: func() { freed++ },
	}}
	work := func(looks int, bytes uint64) {
		for range looks {
			now.allocated += bytes
			k.look()
		}
	}
	work(100, 100*mb)
	if freed != 0 {
		t.Errorf("freed %d times at work", freed)
	}
	work(quietLooks, mb)
	if freed != 1 {
		t.Errorf("freed %d times when idle for a moment, want 1", freed)
	}
	work(1000, mb)
	if freed != releases {
		t.Errorf("freed %d times when idle for long, want %d", freed, releases)
	}
	work(1, 100*mb)
	work(quietLooks, mb)
	if freed != releases+1 {
		t.Errorf("freed %d times after another burst, want %d", freed, releases+1)
	}
}

// The process is left as it was.
func TestRun(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- NewKeeper(512 * mb).Run(ctx) }()
		synctest.Wait()
		if now := debug.SetMemoryLimit(-1); now != 512*mb {
			t.Errorf("the limit is %d, want %d", now, 512*mb)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	if after := debug.SetMemoryLimit(-1); after != before {
		t.Errorf("the limit is %d after Run, was %d", after, before)
	}
}
