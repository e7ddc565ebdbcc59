package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Cores is what all cores together have done since the machine began.
type Cores struct {
	Idle   time.Duration // waiting for the disk among it
	Stolen time.Duration // by the host, from a virtual machine
	Total  time.Duration
}

// AllCores looks at the cores.
func AllCores() (Cores, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Cores{}, err
	}
	return parseCores(stat)
}

// parseCores reads the first line: user, nice, system, idle, iowait, irq, softirq, steal, and what is in user already.
func parseCores(stat []byte) (c Cores, err error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return c, fmt.Errorf("%w: %.40q", errProcForm, line)
	}
	var ticks [8]time.Duration
	for n := range ticks {
		count, e := strconv.ParseInt(string(fields[n+1]), 10, 64)
		ticks[n], err = time.Duration(count)*tick, errors.Join(err, e)
	}
	for _, t := range ticks {
		c.Total += t
	}
	c.Idle, c.Stolen = ticks[3]+ticks[4], ticks[7]
	return c, err
}

// Since is what was done after an earlier look.
func (c Cores) Since(before Cores) Cores {
	return Cores{Idle: c.Idle - before.Idle, Stolen: c.Stolen - before.Stolen, Total: c.Total - before.Total}
}
