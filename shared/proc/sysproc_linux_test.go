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
