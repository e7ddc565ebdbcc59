package machine

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// waitEvery is how often threads are looked at: two hundred times in a load of two seconds, for a hundredth of a core.
const waitEvery = 10 * time.Millisecond

// Waits counts the threads of a process that wait for the disk: those that the kernel shows as in uninterruptible sleep (D), where a
// thread in fsync is.
type Waits struct {
	pid int
	end context.CancelFunc
	wg  sync.WaitGroup

	looks, waiting int // of the goroutine, until Stop
	some           int // looks with at least one
}

// WatchWaits looks at the threads of a process until Stop.
func WatchWaits(ctx context.Context, pid int) *Waits {
	ctx, cancel := context.WithCancel(ctx)
	w := &Waits{pid: pid, end: cancel}
	w.wg.Go(func() { w.run(ctx) })
	return w
}

func (w *Waits) run(ctx context.Context) {
	ticker := time.NewTicker(waitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look()
		}
	}
}

func (w *Waits) look() {
	threads := threadsIn(w.pid, "D")
	w.looks, w.waiting = w.looks+1, w.waiting+threads
	if threads > 0 {
		w.some++
	}
}

// Stop ends the watch and returns in which part of the time a thread was waiting, and how many were on average.
func (w *Waits) Stop() (some, threads float64) {
	w.end()
	w.wg.Wait()
	if w.looks == 0 {
		return 0, 0
	}
	return float64(w.some) / float64(w.looks), float64(w.waiting) / float64(w.looks)
}

// threadsIn counts the threads of a process in a state. One that has ended meanwhile is in none.
func threadsIn(pid int, state string) (count int) {
	stats, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if fields, err := statFields(stat); err == nil && string(fields[0]) == state {
			count++
		}
	}
	return count
}
