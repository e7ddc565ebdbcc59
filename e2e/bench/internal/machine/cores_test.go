package machine

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestParseCores(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		want       Cores
		err        error
	}{
		{"plain", "cpu  100 10 50 400 20 1 9 10 7 0\ncpu0 1 2 3\n", Cores{Idle: 4200 * time.Millisecond, Stolen: 100 * time.Millisecond, Total: 6 * time.Second}, nil},
		{"too short", "cpu  1 2 3\n", Cores{}, errProcForm},
		{"another line", "intr 1 2 3 4 5 6 7 8 9\n", Cores{}, errProcForm},
		{"nothing", "", Cores{}, errProcForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCores([]byte(c.stat))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestParseDevice(t *testing.T) {
	const stat = "  961574   238406 53474026   232728 26997559  5842426 1525891936 15611116        0  2847276 17536232  5813879     1229 1609744736   770490  7035846   921897\n"
	got, err := parseDevice([]byte(stat))
	if want := (Device{Busy: 2847276 * time.Millisecond, Flushes: 7035846}); got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseDevice([]byte("1 2 3")); !errors.Is(err, errProcForm) {
		t.Errorf("the error of a short line is %v", err)
	}
}

func TestSince(t *testing.T) {
	if got := (Cores{5, 3, 9}).Since(Cores{1, 1, 1}); got != (Cores{4, 2, 8}) {
		t.Errorf("the cores did %+v", got)
	}
	if got := (Device{5, 3}).Since(Device{1, 1}); got != (Device{4, 2}) {
		t.Errorf("the disk did %+v", got)
	}
}

func TestCoresOfThisMachine(t *testing.T) {
	if c, err := AllCores(); err != nil || c.Total <= c.Idle {
		t.Errorf("the cores did %+v, %v", c, err)
	}
}

// This test's own thread runs while it counts.
func TestThreads(t *testing.T) {
	if running := threadsIn(os.Getpid(), "R"); running < 1 {
		t.Errorf("%d threads of this process run", running)
	}
	if gone := threadsIn(1<<30, "R"); gone != 0 {
		t.Errorf("%d threads of a process run that is not there", gone)
	}
}

func TestWaits(t *testing.T) {
	w := &Waits{looks: 4, some: 1, waiting: 2, end: func() {}}
	if some, threads := w.Stop(); some != 0.25 || threads != 0.5 {
		t.Errorf("got %v, %v", some, threads)
	}
	if some, threads := WatchWaits(context.Background(), 1<<30).Stop(); some != 0 || threads != 0 {
		t.Errorf("nobody waits %v, %v", some, threads)
	}
}
