package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/pgtest"
)

// filling is a load with the table that it fills.
type filling struct {
	table string
	load  func(context.Context, []batch.Delivery) (filled, error)
	did   filled
}

// filled is what a load took.
type filled struct {
	objects  int
	bytes    int64 // of records
	took     time.Duration
	cpu      time.Duration // of hydrant-redshift, from when it was ready
	start    clearing      // of its process, before
	copies   int
	database map[int]time.Duration // what its processes had used when it was done, while the client was still connected
	standIn  time.Duration         // of that, in this load
	postgres time.Duration
}

func (f filled) rate() float64 { return float64(f.bytes) / 1e6 / f.took.Seconds() }

// perGB is CPU seconds for each GB of records.
func (f filled) perGB(cpu time.Duration) float64 { return cpu.Seconds() * 1e9 / float64(f.bytes) }

// fillTable puts a load on an empty table, and counts what is in it then.
func (r *redshiftRow) fillTable(ctx context.Context, f filling, staged []batch.Delivery) (did filled, err error) {
	if err := r.house.empty(ctx, f.table); err != nil {
		return did, err
	}
	before, err := r.database()
	if err != nil {
		return did, err
	}
	if did, err = f.load(ctx, staged); err != nil {
		return did, err
	}
	records := 0
	did.objects = len(staged)
	for _, s := range staged {
		records, did.bytes = records+s.Records, did.bytes+s.Bytes
	}
	standIn := r.parts[partStandIn].PID()
	did.standIn = did.database[standIn] - before[standIn]
	did.postgres = grown(before, did.database) - did.standIn
	return did, r.house.want(ctx, f.table, records)
}

// database is what the processes of PostgreSQL and the stand-in have used of the cores.
func (r *redshiftRow) database() (map[int]time.Duration, error) {
	pids, err := r.house.pids()
	if err != nil {
		return nil, err
	}
	used := map[int]time.Duration{}
	for _, pid := range append(pids, r.parts[partStandIn].PID()) {
		if cpu, err := machine.CPU(pid); err == nil { // or it has just ended: clients that only asked something come and go
			used[pid] = cpu
		}
	}
	return used, nil
}

// grown is what the processes that are there used since an earlier look.
func grown(before, after map[int]time.Duration) (sum time.Duration) {
	for pid, cpu := range after {
		sum += cpu - before[pid]
	}
	return sum
}

// byHand has one COPY load what is staged. The manifest is there and the client connected before the time begins.
func (r *redshiftRow) byHand(ctx context.Context, staged []batch.Delivery) (did filled, err error) {
	manifest, err := r.writeManifest(ctx, staged)
	if err != nil {
		return did, err
	}
	db, err := sql.Open("postgres", pgtest.URL(r.addr.standIn, pgtest.User, pgtest.Password, database))
	if err != nil {
		return did, err
	}
	defer func() { _ = db.Close() }() // its one connection is idle
	if err := db.PingContext(ctx); err != nil {
		return did, err
	}
	began := time.Now()
	if _, err := db.ExecContext(ctx, copyOf(tableByHand, manifest)); err != nil {
		return did, err
	}
	did.took = time.Since(began)
	did.database, err = r.database()
	return did, err
}

// hydrant starts hydrant-redshift on what is staged, and ends it when the last outcome is told. The time begins when it is ready.
func (r *redshiftRow) hydrant(ctx context.Context, staged []batch.Delivery) (did filled, err error) {
	bytes := int64(0)
	for _, s := range staged {
		bytes += s.Bytes
	}
	if did.start, err = r.clear(ctx, partRedshift, names.DeliveriesSubject(names.LegRedshift, oneStream), bytes); err != nil {
		return did, err
	}
	did.took = did.start.took
	if did.cpu, err = since(r.parts[partRedshift].PID(), did.start.cpu); err != nil {
		return did, err
	}
	if did.database, err = r.database(); err != nil {
		return did, err
	}
	if did.copies, err = r.copies(ctx, oneStream); err != nil {
		return did, err
	}
	r.noted += len(staged)
	return did, errors.Join(r.end(partRedshift), r.house.want(ctx, "public.hydrant_ledger", r.noted))
}
