package redshift

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"
)

// TestConnectingIsCutOff has the time to connect end when the password is to be sent, which the client tells in a form of its own.
func TestConnectingIsCutOff(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() { _ = listener.Close() }()
	serving.Go(func() { askForPassword(listener) })

	line := new(dialer)
	through, err := pq.NewConnectorConfig(pq.Config{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port), User: "u", Password: "p", ConnectTimeout: patience, SSLMode: pq.SSLModeDisable})
	check(t, err)
	through.Dialer(lateWriter{line})
	_, err = through.Connect(t.Context())
	if err == nil {
		t.Fatal("it is connected")
	}
	wantEqual(t, "the code", judge(line.lost(err)).code, codeConnection)
}

// lateWriter makes connections whose second message is too late.
type lateWriter struct{ *dialer }

func (l lateWriter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lateConn{Conn: conn}, nil
}

type lateConn struct {
	net.Conn
	sent bool
}

func (c *lateConn) Write(data []byte) (int, error) {
	if c.sent {
		_ = c.SetWriteDeadline(time.Unix(1, 0))
	}
	c.sent = true
	return c.Conn.Write(data)
}

// askForPassword reads what a client begins with, asks for its password, and waits until it is gone.
func askForPassword(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(length[:]))-4)
	_, _ = conn.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 3})
	_, _ = io.Copy(io.Discard, conn)
}
