package natstest

import (
	"fmt"
	"net"
	"testing"
)

// A stopped server's ports are given to no other, or it could not start again.
func TestPortsAreKeptWhileStopped(t *testing.T) {
	s := Start(t)
	s.Stop()
	for _, port := range []int{s.options.Port, s.options.HTTPPort} {
		if other, err := claim(port); err == nil {
			_ = other.Close()
			t.Errorf("port %d of a stopped server is given away", port)
		}
	}
	s.Restart()
}

func TestPortsAreGivenUp(t *testing.T) {
	var s *Server
	t.Run("of a test that ends", func(t *testing.T) { s = Start(t) })
	claimed, err := claim(s.options.Port)
	if err != nil {
		t.Fatal(err)
	}
	_ = claimed.Close()
}

func TestPortInUseIsNotClaimed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	if claimed, err := claim(port); err == nil {
		_ = claimed.Close()
		t.Errorf("port %d, on which somebody listens, is claimed", port)
	}
	// It did not keep what it had of it.
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = udp.Close()
}
