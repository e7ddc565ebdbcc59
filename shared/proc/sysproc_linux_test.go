package proc_test

import (
	"os"
	"syscall"
	"testing"
)

// A child does not outlive the process that started it, even if that is killed alone.
func TestChildrenDieWithTheirParent(t *testing.T) {
	c := start(t, "guardian")
	parent, err := os.FindProcess(c.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.Exited()
	eventually(t, "the child has ended", func() bool { return !c.listens() })
}

// A process is found by its end of a connection.
func TestConnected(t *testing.T) {
	c := start(t, "server")
	for address, want := range map[string]bool{c.address: true, "127.0.0.2" + c.address[len("127.0.0.1"):]: false} {
		if got, err := c.Connected(address); got != want || err != nil {
			t.Errorf("%s: %v, %v", address, got, err)
		}
	}
	if _, err := c.Connected("[::1]:1"); err == nil {
		t.Error("an address of IPv6 was accepted")
	}
	c.Kill()
	if got, err := c.Connected(c.address); got || err == nil {
		t.Errorf("after its end: %v, %v", got, err)
	}
}
