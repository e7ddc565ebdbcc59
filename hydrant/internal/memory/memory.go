// Package memory keeps the memory of a process that embeds a NATS server near a limit, and gives back to the system what a
// burst has left.
//
// The limit is Go's own soft one, with two differences. Go would collect all the time when what is in use exceeds it, which
// costs half of the processors and frees nothing; here the limit gives way, and stays a quarter above what is in use.
// And Go keeps what it has freed until the next collection, which an idle process has every two minutes; here it goes back
// within seconds once the process is idle.
//
// Not promised: that the process stays below the limit. JetStream holds blocks of its logs for ten seconds, and what is
// needed is taken.
package memory

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Default is the limit where none is set.
const Default = 1 << 30

const (
	lookEvery = time.Second

	// quietBytes is what an idle process allocates at most between two looks: thousands of idle delivery streams stay below.
	quietBytes = 8 << 20
	// quietLooks is how long it has to be idle before memory is given back: what JetStream holds for ten seconds and what its
	// pools keep over two collections is not there to be given at once, so it is done a few times.
	quietLooks = 4
	releases   = 10
)

// reading is what the keeper has to know of the process.
type reading struct {
	live      uint64 // bytes in use after the last collection
	allocated uint64 // bytes since the process began
}

// runtime is Go's, but for tests.
type runtime struct {
	read  func() reading
	limit func(int64)
	free  func()
}

// Keeper keeps the memory of the process.
type Keeper struct {
	base    int64
	runtime runtime

	limit     int64
	allocated uint64
	quiet     int // looks in a row that found the process idle
}

// NewKeeper returns a keeper for a limit in bytes.
func NewKeeper(limit int64) *Keeper {
	return &Keeper{base: limit, runtime: runtime{
		read:  read,
		limit: func(n int64) { debug.SetMemoryLimit(n) },
		free:  debug.FreeOSMemory,
	}}
}

// Run keeps the memory until ctx ends, and then leaves the process with the limit that it had.
func (k *Keeper) Run(ctx context.Context) error {
	before := debug.SetMemoryLimit(-1)
	defer k.runtime.limit(before)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		k.look()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// look adapts the limit, and gives memory back when the process has been idle for a while.
func (k *Keeper) look() {
	now := k.runtime.read()
	k.adapt(now)
	idle := now.allocated-k.allocated < quietBytes
	k.allocated = now.allocated
	if !idle {
		k.quiet = 0
		return
	}
	k.quiet++
	if k.quiet%quietLooks == 0 && k.quiet/quietLooks <= releases {
		k.runtime.free()
	}
}

// adapt sets the limit to the configured one, or to a quarter above what is in use if that is more. Small changes are not
// worth it: each stops the process for a moment.
func (k *Keeper) adapt(now reading) {
	want := max(k.base, int64(min(now.live+now.live/4, math.MaxInt64)))
	if change := want - k.limit; k.limit != 0 && want != k.base && max(change, -change) < k.limit/16 {
		return
	}
	if want != k.limit {
		k.limit = want
		k.runtime.limit(want)
	}
}

func read() reading {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return reading{live: samples[0].Value.Uint64(), allocated: samples[1].Value.Uint64()}
}
