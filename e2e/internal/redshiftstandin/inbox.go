package redshiftstandin

// inbox holds what one side of a session has sent, one message at a time: a message is read when the one before is released,
// because it lies in the same memory.
type inbox[M any] struct {
	messages chan M
	taken    chan struct{}
	gone     chan struct{} // closed when no message comes any more
	err      error         // why, set before
	held     bool          // of the goroutine that takes messages
}

func newInbox[M any]() *inbox[M] {
	return &inbox[M]{messages: make(chan M), taken: make(chan struct{}, 1), gone: make(chan struct{})}
}

// read fills the inbox until the connection fails or done is closed.
func (b *inbox[M]) read(receive func() (M, error), done <-chan struct{}) {
	defer close(b.gone)
	for {
		m, err := receive()
		if err != nil {
			b.err = err
			return
		}
		select {
		case b.messages <- m:
		case <-done:
			return
		}
		select {
		case <-b.taken:
		case <-done:
			return
		}
	}
}

// release gives the memory of the message back that was taken last.
func (b *inbox[M]) release() {
	if b.held {
		b.held = false
		b.taken <- struct{}{}
	}
}

// lost tells whether no message comes any more.
func (b *inbox[M]) lost() bool {
	select {
	case <-b.gone:
		return true
	default:
		return false
	}
}
