package catalog

import (
	"context"
	"errors"
	"sync"
	"time"

	"hydrant/shared/pause"
)

// marksApart is the least time between two marks of a process. Thousands of batches that wait for a destination which is down ask for
// a proof each time that they are tried; a tenth of a second is nothing to what has waited for seconds.
const marksApart = 100 * time.Millisecond

// errGivenUp says of a mark that who was to store it did not stay for the answer.
var errGivenUp = errors.New("the mark was given up")

// marks has all who ask at about the same time share a mark. One that is sent after somebody asked is as good a proof as one of their
// own; one that is on its way already is not.
type marks struct {
	turn chan struct{} // to send the next one
	sent time.Time     // when the last one was; of who has the turn

	mu   sync.Mutex
	next *mark // not sent yet
}

// mark is one that some wait for. What became of it is read when done is closed.
type mark struct {
	done     chan struct{}
	revision uint64
	err      error
}

func newMark() *mark { return &mark{done: make(chan struct{})} }

func newMarks() *marks { return &marks{turn: make(chan struct{}, 1), next: newMark()} }

// ask returns the revision of a mark that was sent after ask was called. store stores one; it is called by one of those who wait, as
// long as that one's ctx lasts. When it ends, another of them begins anew.
func (m *marks) ask(ctx context.Context, store func(context.Context) (uint64, error)) (uint64, error) {
	for ctx.Err() == nil {
		mine := m.unsent()
		select {
		case m.turn <- struct{}{}:
			m.send(ctx, mine, store)
			<-m.turn
		case <-mine.done:
		case <-ctx.Done():
		}
		if mine.over() && !errors.Is(mine.err, errGivenUp) {
			return mine.revision, mine.err
		}
	}
	return 0, ctx.Err()
}

func (m *marks) unsent() *mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next
}

// send sends a mark, unless somebody has meanwhile. It needs the turn.
func (m *marks) send(ctx context.Context, mine *mark, store func(context.Context) (uint64, error)) {
	if mine.over() || !pause.For(ctx, marksApart-time.Since(m.sent)) {
		return
	}
	m.mu.Lock()
	m.next = newMark()
	m.mu.Unlock()
	m.sent = time.Now()
	mine.revision, mine.err = store(ctx)
	if mine.err != nil && ctx.Err() != nil {
		mine.err = errGivenUp
	}
	close(mine.done)
}

func (m *mark) over() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}
