package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childrenOf lists the processes that a process has started and that have not ended, where the system has /proc.
func childrenOf(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var children []int
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if state, of := statOf(pid); err == nil && of == parent && state != "Z" {
			children = append(children, pid)
		}
	}
	return children
}

// statOf reads a process's state and parent; nothing if there is no such process.
func statOf(pid int) (state string, parent int) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0
	}
	// The name before is in parentheses, and may have some of its own.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// awaitGone waits until processes that were killed have let go of what they had: a server does not start while an old
// one's memory is in use.
func awaitGone(pids []int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range pids {
		for state, _ := statOf(pid); state != "" && state != "Z"; state, _ = statOf(pid) {
			<-tick.C
		}
	}
}

// signal sends a signal to processes, of which some may have ended.
func signal(pids []int, which syscall.Signal) (err error) {
	for _, pid := range pids {
		if e := syscall.Kill(pid, which); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("signal %v to PostgreSQL: %w", which, e))
		}
	}
	return err
}
