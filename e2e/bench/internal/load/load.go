package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load is a number of connections that make calls one after the other.
type Load struct {
	Addr string
	// Path is empty for the API. Of what is elsewhere only the status of an answer is looked at.
	Path        string
	Connections int
	// Length ends the load; calls under way then are finished and counted.
	Length time.Duration
	// Calls ends it too, after so many calls together. 0 means as many as there is time for.
	Calls int
	// Next is the n-th call that a connection makes.
	Next func(connection, n int) Call
	// Admit is asked before each call, if it is set, and may wait. No ends the load on that connection. It says no when the
	// context ends.
	Admit func(ctx context.Context, bytes int64) bool
	// Acked is told of each call that was acknowledged, if it is set, from many goroutines.
	Acked func(bytes int64)
}

// Result is what a load did.
type Result struct {
	Calls     int
	Bytes     int64 // of records, acknowledged
	Took      time.Duration
	Latencies []time.Duration // of each call, ascending
}

// Rate is calls a second.
func (r Result) Rate() float64 { return float64(r.Calls) / r.Took.Seconds() }

// MBps is 10^6 bytes of acknowledged records a second.
func (r Result) MBps() float64 { return float64(r.Bytes) / 1e6 / r.Took.Seconds() }

// Run puts the load on, and returns when its last call is answered. It fails with the first call that does.
func (l Load) Run(ctx context.Context) (Result, error) {
	conns, err := l.dial(ctx)
	defer closeAll(conns)
	if err != nil {
		return Result{}, err
	}
	run := &running{Load: l}
	timed, cancel := context.WithTimeout(ctx, l.Length)
	defer cancel()
	results := make([]Result, len(conns))
	failures := make([]error, len(conns))
	start := time.Now()
	var wg sync.WaitGroup
	for n, conn := range conns {
		wg.Go(func() {
			results[n], failures[n] = run.connection(timed, conn, n)
			if failures[n] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	total := merge(results)
	total.Took = time.Since(start)
	return total, errors.Join(append(failures, ctx.Err())...)
}

func (l Load) dial(ctx context.Context) ([]*Conn, error) {
	conns := make([]*Conn, 0, l.Connections)
	for range l.Connections {
		conn, err := dial(ctx, l.Addr, l.Path)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		c.Close()
	}
}

type running struct {
	Load
	begun atomic.Int64 // calls
}

// connection makes calls until ctx ends or there have been enough.
func (r *running) connection(ctx context.Context, conn *Conn, number int) (Result, error) {
	var result Result
	for n := 0; ctx.Err() == nil && (r.Calls == 0 || r.begun.Add(1) <= int64(r.Calls)); n++ {
		call := r.Next(number, n)
		if r.Admit != nil && !r.Admit(ctx, call.Bytes) {
			break
		}
		start := time.Now()
		if err := conn.Do(call); err != nil {
			return result, err
		}
		result.Latencies = append(result.Latencies, time.Since(start))
		result.Calls++
		result.Bytes += call.Bytes
		if r.Acked != nil {
			r.Acked(call.Bytes)
		}
	}
	return result, nil
}

func merge(results []Result) Result {
	var total Result
	for _, r := range results {
		total.Calls += r.Calls
		total.Bytes += r.Bytes
		total.Latencies = append(total.Latencies, r.Latencies...)
	}
	slices.Sort(total.Latencies)
	return total
}
