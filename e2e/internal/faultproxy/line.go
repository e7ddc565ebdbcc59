package faultproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// largestMessage bounds what is kept of one message. A COPY is a statement, and its answer some lines.
const largestMessage = 32 << 20

var errLargeMessage = errors.New("a message is larger than any that is expected")

// line is a client's connection and the one to the database that belongs to it.
type line struct {
	wire    *Wire
	client  net.Conn
	backend net.Conn
	parting sync.Once
	gone    chan struct{} // closed when the two part

	mu   sync.Mutex
	open *decision // of the COPY that has no answer yet
}

// part ends both connections.
func (l *line) part() {
	l.parting.Do(func() {
		close(l.gone)
		_ = l.client.Close()
		_ = l.backend.Close()
	})
}

// reset ends both, so that the client's learns of it at once and of nothing that was under way.
func (l *line) reset() {
	for _, conn := range []net.Conn{l.client, l.backend} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	l.part()
}

// questions passes on what the client says. The first message of a connection has no type.
func (l *line) questions() {
	defer l.part()
	defer l.settle(CopierLost)
	m, err := readMessage(l.client, 0)
	for err == nil && l.ask(m) {
		m, err = readMessage(l.client, 1)
	}
}

// ask passes one message on, and tells whether there may be more.
func (l *line) ask(m []byte) bool {
	if m[0] != 'Q' || !bytes.Contains(m, []byte("COPY ")) {
		_, err := l.backend.Write(m)
		return err == nil
	}
	d := l.wire.decide(Copy)
	if d.fault == ResetBefore {
		l.wire.count(d)
		l.wire.over(d)
		l.reset()
		return false
	}
	l.mu.Lock()
	l.open = &d
	l.mu.Unlock()
	d.hook(BeforeForward, d.kind, l.client.RemoteAddr().String())
	_, err := l.backend.Write(m)
	if err == nil && d.fault == CutInside {
		l.settle(CutInside)
		l.reset()
	}
	return err == nil
}

// answers passes on what the database says. The answer to a COPY is kept together, until it has all come.
func (l *line) answers() {
	defer l.part()
	defer l.settle(DatabaseLost)
	var kept []byte
	for {
		m, err := readMessage(l.backend, 1)
		if err != nil {
			return
		}
		kept = append(kept, m...)
		d := l.waiting()
		if d != nil && m[0] != 'Z' {
			continue
		}
		if d != nil && !l.answer(*d, kept) {
			return
		}
		if d == nil {
			if _, err := l.client.Write(kept); err != nil {
				return
			}
		}
		kept = kept[:0]
	}
}

func (l *line) waiting() *decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// answer gives a whole answer to the client, unless it is to be lost, and tells whether the line goes on.
func (l *line) answer(d decision, whole []byte) bool {
	d.hook(BeforeAnswer, d.kind, l.client.RemoteAddr().String())
	switch d.fault {
	case ResetAfter, CutInside: // one that was quicker than the cut
	case HeldAnswer:
		l.hold(d)
	case Truncated:
		_, _ = l.client.Write(whole[:len(whole)/2])
		l.settle(d.fault)
		l.part()
		return false
	default:
		l.settle(d.fault)
		_, err := l.client.Write(whole)
		return err == nil
	}
	l.settle(d.fault)
	l.reset()
	return false
}

// hold returns when the client has given up, when it was held for long enough, or when the faults are switched off.
func (l *line) hold(d decision) {
	limit := time.NewTimer(d.maxHold)
	defer limit.Stop()
	select {
	case <-l.gone:
	case <-limit.C:
	case <-d.released:
	}
}

// settle counts what became of the COPY that has no answer, if there is one.
func (l *line) settle(fault Fault) {
	l.mu.Lock()
	d := l.open
	l.open = nil
	l.mu.Unlock()
	if d == nil {
		return
	}
	settled := *d // who asked still reads the other
	settled.fault = fault
	l.wire.over(settled)
	l.wire.count(settled)
}

// readMessage reads one message with its header: a type of so many bytes, and a length that counts itself.
func readMessage(from io.Reader, typed int) ([]byte, error) {
	header := make([]byte, typed+4)
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(header[typed:])) - 4
	if size < 0 || size > largestMessage {
		return nil, errLargeMessage
	}
	m := bytes.NewBuffer(header) // it grows with what comes, not with what is announced
	_, err := io.CopyN(m, from, size)
	return m.Bytes(), err
}
