package proc

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// state returns the letter that the kernel has for what a process does: T for one that was stopped (proc_pid_stat(5)).
func state(pid int) (byte, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("state: %w", err)
	}
	// The program's name is in parentheses, and may hold anything.
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	if len(rest) < 2 {
		return 0, fmt.Errorf("state: %q is not in the form of proc_pid_stat(5)", stat)
	}
	return rest[1], nil
}
