//go:build faults

// Package faultpoint marks the places where the fault tests kill or stop a process. In a build without the tag "faults"
// a mark is nothing at all; with it, the file that HYDRANT_FAULTPOINT names arms one mark: it holds "<name> kill" or
// "<name> stop". The process that gets there first takes the file and sends itself the signal; nothing behind the mark happens
// before it is dead, or goes on.
package faultpoint

import (
	"os"
	"os/signal"
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
	if action == "stop" {
		stop()
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// stop stops the process and returns when it goes on. The signal may be another thread's to take, and this one would run for a
// while yet.
func stop() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goesOn
}
