package ingest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkBuildMessages(b *testing.B) {
	for _, n := range []int{1, 500} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			records := recordsOf(slices.Repeat([]int{1000}, n)...)
			c, data := callerOf("6f0bd5ba-3c42-4e77-8f4b-6a2c4a2a0e11", records...), dataOf(records...)
			b.SetBytes(int64(1000 * n))
			b.ReportAllocs()
			for b.Loop() {
				buildMessages("stream", c, data)
			}
		})
	}
}

// BenchmarkPut puts into one log of a server that syncs every write, from as many producers as there are connections to
// an ingest replica.
func BenchmarkPut(b *testing.B) {
	for _, bench := range []struct{ records, producers int }{{1, 1}, {1, 8}, {1, 64}, {1, 256}, {500, 16}} {
		b.Run(fmt.Sprintf("records=%d/producers=%d", bench.records, bench.producers), func(b *testing.B) {
			r := newPutRig(b)
			l, d := r.putLog(r.server.URL()), r.stream("bench", 1)
			records := recordsOf(slices.Repeat([]int{1000}, bench.records)...)
			c, data := callerOf("", records...), dataOf(records...)
			b.SetBytes(int64(1000 * bench.records))
			b.ReportAllocs()
			b.ResetTimer()
			var calls atomic.Int64
			produce(bench.producers, func() bool {
				n := calls.Add(1)
				if n > int64(b.N) {
					return false
				}
				mine := c
				mine.InvocationID = strconv.FormatInt(n, 10)
				if err := l.put(context.Background(), d, mine, data).err; err != nil {
					b.Error(err)
					return false
				}
				return true
			})
			b.StopTimer()
			if commits := l.counts.Commits.Load(); commits > 0 {
				b.ReportMetric(float64(l.counts.Messages.Load())/float64(commits), "messages/commit")
			}
		})
	}
}

// produce calls put from as many goroutines as given until it returns false, and returns when all have ended.
func produce(producers int, put func() bool) {
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			for put() {
			}
		})
	}
	group.Wait()
}
