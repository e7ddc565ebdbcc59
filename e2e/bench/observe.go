package main

import (
	"context"
	"errors"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

// observed is what the machine did while a load ran, by which its limit is told: which process used the cores, whether any was
// left, and whether NATS waited for the disk.
type observed struct {
	length time.Duration
	used   usage
	cores  machine.Cores
	device machine.Device
	disk   bool             // the device is known
	peak   map[string]int64 // of what ran when the load began

	natsWaits   float64 // part of the time in which a thread of NATS waited for the disk
	natsThreads float64 // that waited, on average
}

// observe looks at all parts while a load runs.
func (i *installation) observe(ctx context.Context, load func() error) (o observed, err error) {
	before, err := i.look()
	if err != nil {
		return o, err
	}
	memory := machine.Watch(ctx, i.pids())
	waits := machine.WatchWaits(ctx, i.parts[partNATS].PID())
	err = load()
	after, lookErr := i.look()
	o.natsWaits, o.natsThreads = waits.Stop()
	o.peak = memory.Stop()
	o.length, o.used = after.at.Sub(before.at), after.used.since(before.used)
	o.cores, o.device, o.disk = after.cores.Since(before.cores), after.device.Since(before.device), after.disk
	return o, errors.Join(err, lookErr)
}

// glance is what all have used so far.
type glance struct {
	at     time.Time
	used   usage
	cores  machine.Cores
	device machine.Device
	disk   bool
}

func (i *installation) look() (g glance, err error) {
	g.at = time.Now()
	if g.used, err = i.cpu(); err != nil {
		return g, err
	}
	if g.cores, err = machine.AllCores(); err != nil {
		return g, err
	}
	device, err := machine.DeviceOf(i.dir)
	g.device, g.disk = device, err == nil // a file system in a container may have none
	return g, nil
}

// of is how many cores a part used on average, all replicas of it together.
func (o observed) of(part string) float64 {
	var total time.Duration
	for name, used := range o.used {
		if name == part || isReplica(name, part) {
			total += used
		}
	}
	return total.Seconds() / o.length.Seconds()
}

// memory is the most that one replica of a part had resident, in MB.
func (o observed) memory(part string) float64 {
	most := int64(0)
	for name, bytes := range o.peak {
		if isReplica(name, part) {
			most = max(most, bytes)
		}
	}
	return float64(most) / 1e6
}

// residents looks at the memory of replicas that were started in the load, when it is over.
func (o observed) residents(i *installation, replicas []replica) (err error) {
	for _, r := range replicas {
		if o.peak[r.name], err = machine.Resident(i.parts[r.name].PID()); err != nil {
			return err
		}
	}
	return nil
}

// share is a time by that of the load.
func (o observed) share(d time.Duration) float64 { return d.Seconds() / o.length.Seconds() }

// others is how many cores were used by what is not of the installation. Where that is much the row says little.
func (o observed) others() float64 {
	var ours time.Duration
	for _, used := range o.used {
		ours += used
	}
	return max(0, o.share(o.cores.Total-o.cores.Idle-o.cores.Stolen-ours))
}

// column is a part that a table shows, under a name of its own.
type column struct{ part, name string }

// add adds to a line of a row what the cores, the disk and the memory did.
func (o observed) add(row *report.Row, line, scaled string, columns []column) {
	for _, c := range columns {
		row.Cell(line, c.name, "cores").Add(o.of(c.part))
	}
	row.Cell(line, "idle", "cores").Add(o.share(o.cores.Idle))
	row.Cell(line, "NATS waits for the disk", "% of the time").Add(100 * o.natsWaits)
	row.Cell(line, "with threads", "").Add(o.natsThreads)
	if o.disk {
		row.Cell(line, "disk busy", "%").Add(100 * o.share(o.device.Busy))
		row.Cell(line, "flushes", "/s").Add(float64(o.device.Flushes) / o.length.Seconds())
	}
	row.Cell(line, "a replica", "MB").Add(o.memory(scaled))
	row.Beside("used by programs that are not of the bench", "cores").Add(o.others())
	row.Beside("taken by other virtual machines", "cores").Add(o.share(o.cores.Stolen))
}
