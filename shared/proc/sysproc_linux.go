package proc

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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

// connected tells whether a process has a connection of which its end has the IPv4 address: the kernel's list of connections names each
// by a number (proc(5)), which the links to what the process has open are named after.
func connected(pid int, local netip.AddrPort) (bool, error) {
	connections, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return false, fmt.Errorf("connections: %w", err)
	}
	ip := local.Addr().As4()
	end := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], local.Port())
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false, fmt.Errorf("connections: %w", err)
	}
	for line := range strings.Lines(string(connections)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == end && opens(links, "socket:["+fields[9]+"]") {
			return true, nil
		}
	}
	return false, nil
}

func opens(links []string, name string) bool {
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == name {
			return true
		}
	}
	return false
}
