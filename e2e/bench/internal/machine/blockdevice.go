package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Device is what a disk has done since the machine began.
type Device struct {
	Busy    time.Duration // at least one request was under way
	Flushes int           // of its cache, which a sync ends with
}

// DeviceOf looks at the disk that a directory is on. A file system without a block device of its own has none.
func DeviceOf(dir string) (Device, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(dir, &stat); err != nil {
		return Device{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	id := uint64(stat.Dev) //nolint:unconvert // The types differ between systems.
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(id), unix.Minor(id)))
	if err != nil {
		return Device{}, err
	}
	return parseDevice(text)
}

// parseDevice reads the tenth number, milliseconds with requests under way, and the sixteenth, flushes (Linux 5.5).
func parseDevice(text []byte) (Device, error) {
	fields := bytes.Fields(text)
	if len(fields) < 17 {
		return Device{}, fmt.Errorf("%w: %d numbers of a disk", errProcForm, len(fields))
	}
	busy, err1 := strconv.ParseInt(string(fields[9]), 10, 64)
	flushes, err2 := strconv.Atoi(string(fields[15]))
	return Device{Busy: time.Duration(busy) * time.Millisecond, Flushes: flushes}, errors.Join(err1, err2)
}

// Since is what was done after an earlier look.
func (d Device) Since(before Device) Device {
	return Device{Busy: d.Busy - before.Busy, Flushes: d.Flushes - before.Flushes}
}
