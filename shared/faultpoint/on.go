//go:build faults

// Package faultpoint marks the places where the fault tests kill or stop a process. In a build without the tag "faults"
// a mark is nothing at all; with it, the file that HYDRANT_FAULTPOINT names arms one mark: it holds "<name> kill" or
// "<name> stop". The process that gets there first takes the file and sends itself the signal.
package faultpoint

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Hit marks the place called name.
func Hit(name string) {
	path := os.Getenv("HYDRANT_FAULTPOINT")
	if path == "" {
		return
	}
	armed, err := os.ReadFile(path)
	if err != nil {
		return
	}
	point, action, _ := strings.Cut(strings.TrimSpace(string(armed)), " ")
	taken := path + "." + strconv.Itoa(os.Getpid())
	if point != name || os.Rename(path, taken) != nil {
		return // not armed, or another process took it
	}
	signal := syscall.SIGKILL
	if action == "stop" {
		signal = syscall.SIGSTOP
	}
	_ = syscall.Kill(os.Getpid(), signal)
}
