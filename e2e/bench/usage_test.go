package main

import (
	"math"
	"runtime"
	"testing"
	"time"

	"hydrant/e2e/bench/internal/load"
)

func TestUsage(t *testing.T) {
	before := usage{partIngest: time.Second, partNATS: 2 * time.Second}
	after := usage{partIngest: 3 * time.Second, partNATS: 7 * time.Second, partLoad: time.Second}
	grown := after.since(before)
	if grown[partIngest] != 2*time.Second || grown[partNATS] != 5*time.Second || grown[partLoad] != time.Second {
		t.Errorf("it grew by %v", grown)
	}
	if got := grown.sum(partIngest, partNATS, partSink); got != 7*time.Second {
		t.Errorf("the sum is %s", got)
	}
}

func TestCoresLeft(t *testing.T) {
	all := float64(runtime.NumCPU())
	for _, c := range []struct {
		name string
		used usage
		want float64
	}{
		{"half a core is used by what is not the sink", usage{partIngest: 2 * time.Second, partNATS: 2 * time.Second, partLoad: time.Second, partSink: 9 * time.Second}, all - 0.5},
		{"all are used", usage{partNATS: time.Duration(20*all) * time.Second}, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := delivered{put: load.Result{Took: 10 * time.Second}, whilePut: c.used}
			if got := coresLeft(d); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("%v cores are left, want %v", got, c.want)
			}
		})
	}
}

func TestTotalCountsDrainAndFlush(t *testing.T) {
	d := delivered{put: load.Result{Bytes: 100e6, Took: 2 * time.Second}, drain: time.Second, flush: time.Second}
	if got := d.total(); got != 25 {
		t.Errorf("%v MB/s, want 25", got)
	}
}

func TestConnectionsGoThroughAllStreams(t *testing.T) {
	const count = 1000
	begins := map[int]bool{}
	for connection := range singleConnections {
		seen := map[int]bool{}
		for n := range count {
			seen[turn(connection, n, count)] = true
		}
		if len(seen) != count {
			t.Fatalf("connection %d puts to %d delivery streams of %d", connection, len(seen), count)
		}
		begins[turn(connection, 0, count)] = true
	}
	if len(begins) != singleConnections {
		t.Errorf("%d connections begin at %d delivery streams", singleConnections, len(begins))
	}
}
