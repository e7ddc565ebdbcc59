package s3server

import "time"

const (
	firstWait = 100 * time.Millisecond
	maxWait   = 5 * time.Second
	// settled is the age from which a death counts as a new trouble rather than as the last one going on.
	settled = 10 * time.Second
)

// backoff is the time between the death of a child and the start of the next.
type backoff struct{ wait time.Duration }

// next is the wait after a child that has lived that long.
func (b *backoff) next(lived time.Duration) time.Duration {
	if b.wait == 0 || lived >= settled {
		b.wait = firstWait
	} else {
		b.wait = min(2*b.wait, maxWait)
	}
	return b.wait
}
