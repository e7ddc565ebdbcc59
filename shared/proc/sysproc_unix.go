//go:build unix && !linux

package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"syscall"
)

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// state returns the letter that ps has for what a process does: T for one that was stopped.
func state(pid int) (byte, error) {
	out, err := exec.CommandContext(context.Background(), "ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("state: ps: %w", err)
	}
	if out = bytes.TrimSpace(out); len(out) == 0 {
		return 0, fmt.Errorf("state: ps knows no process %d", pid)
	}
	return out[0], nil
}

func connected(int, netip.AddrPort) (bool, error) {
	return false, fmt.Errorf("connections of a process: %w", errors.ErrUnsupported)
}
