package machine

import (
	"context"
	"maps"
	"sync"
	"time"
)

// sampleEvery is how often memory is looked at. The kernel's own peak (VmHWM) is of a process's whole life.
const sampleEvery = 200 * time.Millisecond

// Sampler watches the memory of processes.
type Sampler struct {
	pids map[string]int
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	peak map[string]int64
}

// Watch looks at processes, by their names, five times a second until Stop.
func Watch(ctx context.Context, pids map[string]int) *Sampler {
	ctx, cancel := context.WithCancel(ctx)
	s := &Sampler{pids: maps.Clone(pids), end: cancel, peak: map[string]int64{}}
	s.look()
	s.wg.Go(func() { s.run(ctx) })
	return s
}

func (s *Sampler) run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.look()
		}
	}
}

func (s *Sampler) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, pid := range s.pids {
		if now, err := Resident(pid); err == nil {
			s.peak[name] = max(s.peak[name], now)
		}
	}
}

// Stop ends the watch and returns the most that each process had, in bytes. A process that could not be read is not in it.
func (s *Sampler) Stop() map[string]int64 {
	s.end()
	s.wg.Wait()
	s.look()
	return s.peak
}
