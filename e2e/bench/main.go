// Command bench measures how fast Hydrant acknowledges, beside what JetStream alone takes of the same bytes, in one run.
//
// It starts a NATS server that syncs every write and one ingest service, as processes, on the disk it is told to use, and
// alternates two loads, each for some seconds: 16 connections that put batches of 500 records of 1 KB by HTTP, and a bare
// client that publishes messages of the same size with 16 in flight. What counts is acknowledged, so synced. Delivery is
// held back: no buffer and no sink runs. The load generator runs on the same cores and is part of both figures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

type options struct {
	dir      string
	rounds   int
	length   time.Duration
	jsonForm bool
}

func main() { os.Exit(status()) }

func status() int {
	var o options
	flag.StringVar(&o.dir, "dir", ".", "directory on the disk to measure on")
	flag.IntVar(&o.rounds, "rounds", 5, "how often the loads alternate")
	flag.DurationVar(&o.length, "length", 4*time.Second, "length of one load")
	flag.BoolVar(&o.jsonForm, "json", false, "print the result as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// figures are MB/s (10^6 bytes of records a second) of each round, in the order they were taken.
type figures struct {
	Disk      []float64 `json:"disk_synced_mb_per_second"`
	JetStream []float64 `json:"jetstream_mb_per_second"`
	Hydrant   []float64 `json:"hydrant_mb_per_second"`
	Ratio     []float64 `json:"ratio"`
}

func run(ctx context.Context, o options, out, progress io.Writer) error {
	dir, err := os.MkdirTemp(o.dir, "hydrant-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := refuseMemory(dir); err != nil {
		return err
	}
	rig, err := newRig(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer rig.close()

	var f figures
	for round := range o.rounds {
		disk, err := syncedWrites(ctx, dir, o.length/4)
		if err != nil {
			return err
		}
		bare, err := rig.jetStreamAlone(ctx, o.length)
		if err != nil {
			return fmt.Errorf("JetStream alone: %w", err)
		}
		put, err := rig.putRecordBatch(ctx, o.length)
		if err != nil {
			return fmt.Errorf("PutRecordBatch: %w", err)
		}
		f.Disk, f.JetStream, f.Hydrant = append(f.Disk, disk), append(f.JetStream, bare), append(f.Hydrant, put)
		f.Ratio = append(f.Ratio, put/bare)
		_, _ = fmt.Fprintf(progress, "round %d of %d: disk %.0f, JetStream alone %.0f, Hydrant %.0f MB/s, ratio %.2f\n",
			round+1, o.rounds, disk, bare, put, put/bare)
	}
	if o.jsonForm {
		return json.NewEncoder(out).Encode(f)
	}
	return f.table(out)
}

func (f figures) table(out io.Writer) error {
	rows := []struct {
		name   string
		values []float64
		form   string
	}{
		{"disk, 1 MB writes, each synced            MB/s", f.Disk, "%8.0f"},
		{"JetStream alone, 500 KB messages, 16      MB/s", f.JetStream, "%8.0f"},
		{"PutRecordBatch, 500 x 1 KB, 16 connections MB/s", f.Hydrant, "%8.0f"},
		{"ratio of the two                              ", f.Ratio, "%8.2f"},
	}
	_, err := fmt.Fprintf(out, "%-50s%8s%8s%8s\n", "", "median", "least", "most")
	for _, r := range rows {
		form := "%-50s" + r.form + r.form + r.form + "\n"
		_, e := fmt.Fprintf(out, form, r.name, median(r.values), slices.Min(r.values), slices.Max(r.values))
		err = errors.Join(err, e)
	}
	return err
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// refuseMemory refuses a directory that is not on a disk, where a sync costs nothing.
func refuseMemory(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return err
	}
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	if fs.Type == tmpfs || fs.Type == ramfs {
		return fmt.Errorf("%s is in memory: name a directory on a disk with -dir", dir)
	}
	return nil
}

// syncedWrites measures the disk itself: 1 MB at a time, each followed by fdatasync.
func syncedWrites(ctx context.Context, dir string, length time.Duration) (float64, error) {
	file, err := os.CreateTemp(dir, "raw-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close(); _ = os.Remove(file.Name()) }()
	piece := make([]byte, 1_000_000)
	start, written := time.Now(), 0
	for time.Since(start) < length && ctx.Err() == nil {
		n, err := file.Write(piece)
		if err == nil {
			err = syscall.Fdatasync(int(file.Fd()))
		}
		if err != nil {
			return 0, err
		}
		written += n
	}
	return float64(written) / 1e6 / time.Since(start).Seconds(), ctx.Err()
}
