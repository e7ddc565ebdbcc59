package broker

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ClocksApart is from when on it is told that two clocks are apart: early, since two servers may each be as far from a service, one
// ahead and one behind.
const ClocksApart = 10 * time.Second

// Clock is what the clock of a NATS server says, by this process's.
type Clock struct {
	Server string
	// Ahead is by how much it is ahead, at least: what asking took may be more. It is below zero where it is behind, and zero where
	// what the server said is between what this process's clock said before and after.
	Ahead time.Duration
}

// Apart tells whether it is worth telling.
func (c Clock) Apart() bool { return c.Ahead.Abs() >= ClocksApart }

// Clocks returns the clocks of the servers that tell, by name: of those that lead a stream of the installation's, and with monitoring
// addresses of all that answer there. It takes up to two seconds, where some do not answer.
func Clocks(ctx context.Context, js jetstream.JetStream, cfg Config) []Clock {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	streams, addresses := ownStreams(), cfg.monitors()
	told := make([]Clock, len(streams)+len(addresses))
	var asking sync.WaitGroup
	for i, name := range streams {
		asking.Go(func() { told[i] = leaderClock(ctx, js, name) })
	}
	for i, address := range addresses {
		asking.Go(func() { told[len(streams)+i] = monitoredClock(ctx, address) })
	}
	asking.Wait()
	slices.SortFunc(told, func(a, b Clock) int { // of what is told of one server the largest is nearest to what is so
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(b.Ahead.Abs(), a.Ahead.Abs()))
	})
	told = slices.CompactFunc(told, func(a, b Clock) bool { return a.Server == b.Server })
	return slices.DeleteFunc(told, func(c Clock) bool { return c.Server == "" })
}

// leaderClock is the clock of the server that leads a stream, which needs no monitoring address. Its zero value is that there is none.
func leaderClock(ctx context.Context, js jetstream.JetStream, name string) Clock {
	sent := wallClock()
	stream, err := js.Stream(ctx, name)
	received := wallClock()
	if err != nil {
		return Clock{}
	}
	info := stream.CachedInfo()
	if info.Cluster == nil || info.TimeStamp.IsZero() {
		return Clock{}
	}
	return Clock{Server: info.Cluster.Leader, Ahead: ahead(info.TimeStamp, sent, received)}
}

// monitoredClock is the clock of the server whose monitoring address that is, or the zero value.
func monitoredClock(ctx context.Context, monitorURL string) Clock {
	var told struct {
		Name string    `json:"server_name"`
		Now  time.Time `json:"now"`
	}
	sent := wallClock()
	err := readPage(ctx, monitorURL, "/varz", &told)
	received := wallClock()
	if err != nil || told.Now.IsZero() {
		return Clock{}
	}
	return Clock{Server: told.Name, Ahead: ahead(told.Now, sent, received)}
}

// ahead is by how much a clock that said at is ahead of one that said sent before and received after.
func ahead(at, sent, received time.Time) time.Duration {
	switch {
	case at.After(received):
		return at.Sub(received)
	case at.Before(sent):
		return at.Sub(sent)
	default:
		return 0
	}
}

// wallClock is the time without the monotonic clock's, which does not notice that the clock is set.
func wallClock() time.Time { return time.Now().Round(0) }
