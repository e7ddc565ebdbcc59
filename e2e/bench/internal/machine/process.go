package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of times in /proc/<pid>/stat: USER_HZ, which Linux has fixed at 100 a second.
const tick = 10 * time.Millisecond

var errProcForm = errors.New("/proc has another form than expected")

// CPU is what a process has used of the cores since it began, its threads together, without its children.
func CPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(stat)
}

// parseCPU adds utime and stime up. The second field is the program's name in parentheses, and may have any of them in it.
func parseCPU(stat []byte) (time.Duration, error) {
	fields, err := statFields(stat)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%w: %w", errProcForm, err)
	}
	return time.Duration(user+system) * tick, nil
}

// statFields are the fields behind the program's name, the state first.
func statFields(stat []byte) ([][]byte, error) {
	name := bytes.LastIndexByte(stat, ')')
	if name < 0 {
		return nil, errProcForm
	}
	fields := bytes.Fields(stat[name+1:])
	if len(fields) < 22 {
		return nil, errProcForm
	}
	return fields, nil
}

// Resident is what a process has in memory now.
func Resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseResident(status)
}

func parseResident(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		value, found := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !found {
			continue
		}
		kb, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errProcForm, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("%w: no VmRSS", errProcForm)
}

// Children are the processes that a process has started and that run.
func Children(pid int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields, err := statFields(stat)
		if err != nil {
			return nil, err
		}
		if parent, err := strconv.Atoi(string(fields[1])); err == nil && parent == pid {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errProcForm, err)
			}
			children = append(children, child)
		}
	}
	return children, nil
}

// OwnCPU is what this process has used of the cores.
func OwnCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
