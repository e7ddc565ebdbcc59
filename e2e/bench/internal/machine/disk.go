// Package machine measures the machine beside what runs on it: its disk, and what processes take of its cores and memory.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// RefuseMemory refuses a directory that is not on a disk, where a sync costs nothing.
func RefuseMemory(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if inMemory(int64(fs.Type)) { //nolint:unconvert // The types differ between systems.
		return fmt.Errorf("%s is in memory, where a sync costs nothing", dir)
	}
	return nil
}

func inMemory(filesystem int64) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	return filesystem == tmpfs || filesystem == ramfs
}

// FreeBytes is what the volume of dir has left.
func FreeBytes(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("look at %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // The types differ between systems.
}

// Writes is what a disk did.
type Writes struct {
	Rate      float64         // writes a second
	MBps      float64         // 10^6 bytes a second
	Latencies []time.Duration // of each write and sync, ascending
}

// SyncedWrites appends size bytes at a time to a file in dir, each followed by fdatasync, by so many writers with a file
// each, for a while.
func SyncedWrites(ctx context.Context, dir string, size, writers int, length time.Duration) (Writes, error) {
	latencies := make([][]time.Duration, writers)
	failures := make([]error, writers)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() { latencies[n], failures[n] = syncedWriter(ctx, dir, size, start.Add(length)) })
	}
	wg.Wait()
	took := time.Since(start).Seconds()
	all := slices.Concat(latencies...)
	slices.Sort(all)
	count := float64(len(all))
	return Writes{Rate: count / took, MBps: count * float64(size) / 1e6 / took, Latencies: all}, errors.Join(append(failures, ctx.Err())...)
}

func syncedWriter(ctx context.Context, dir string, size int, until time.Time) ([]time.Duration, error) {
	file, err := os.CreateTemp(dir, "raw-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close(); _ = os.Remove(file.Name()) }()
	piece := make([]byte, size)
	var latencies []time.Duration
	for time.Now().Before(until) && ctx.Err() == nil {
		start := time.Now()
		if _, err := file.Write(piece); err != nil {
			return latencies, err
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			return latencies, err
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}

// BestFsyncs is the most 4 KB appends a second that the disk syncs, by one writer or by several.
func BestFsyncs(ctx context.Context, dir string, length time.Duration) (Writes, error) {
	var best Writes
	writers := []int{1, 4, 16}
	for _, n := range writers {
		got, err := SyncedWrites(ctx, dir, 4096, n, length/time.Duration(len(writers)))
		if err != nil {
			return best, err
		}
		if got.Rate > best.Rate {
			best = got
		}
	}
	return best, nil
}

// UsedBytes is what the files below dir take. What vanishes meanwhile is not counted.
func UsedBytes(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // It is gone.
		}
		if info, err := entry.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks * 512
			}
		}
		return nil
	})
	return total
}
