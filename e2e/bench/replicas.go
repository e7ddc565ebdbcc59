package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hydrant/shared/proc"
)

// replica is one of several processes of a service.
type replica struct {
	name        string // among the parts of the installation
	listen, api string // of its admin port, and of the API where it is an ingest
}

// replicaName tells the n-th process of a part from the others.
func replicaName(part string, n int) string { return part + " " + strconv.Itoa(n+1) }

// isReplica tells whether a part of the installation is one of a service's replicas.
func isReplica(name, part string) bool { return strings.HasPrefix(name, part+" ") }

// startReplicas starts so many processes of a service at once, and returns when all are ready.
func (i *installation) startReplicas(ctx context.Context, part string, count int) ([]replica, error) {
	replicas := make([]replica, count)
	for n := range replicas {
		var err error
		if replicas[n], err = i.startReplica(part, n); err != nil {
			return replicas[:n], errors.Join(err, i.endReplicas(replicas[:n]))
		}
	}
	timed, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for _, r := range replicas {
		if err := i.parts[r.name].WaitReady(timed, "http://"+r.listen+"/readyz"); err != nil {
			return replicas, errors.Join(err, i.endReplicas(replicas))
		}
	}
	return replicas, nil
}

// startReplica starts one. Of a flag that is given twice the last counts, so the ports behind are its own.
func (i *installation) startReplica(part string, n int) (replica, error) {
	r := replica{name: replicaName(part, n)}
	addrs, err := freeAddrs(2)
	if err != nil {
		return r, err
	}
	r.listen, r.api = addrs[0], addrs[1]
	s := i.spec(part)
	s.Name, s.LogFile = r.name, filepath.Join(i.dir, fmt.Sprintf("%s-%d.log", part, n+1))
	s.Args = append(s.Args, "--admin-addr", r.listen)
	if part == partIngest {
		s.Args = append(s.Args, "--listen", r.api)
	}
	return r, i.run(s)
}

// run starts a process as a part of the installation.
func (i *installation) run(s proc.Spec) error {
	p, err := proc.Start(s)
	if err != nil {
		return err
	}
	i.parts[s.Name] = p
	i.order = append(i.order, s.Name)
	return nil
}

// endReplicas ends them, as a user would.
func (i *installation) endReplicas(replicas []replica) error {
	var err error
	for _, r := range replicas {
		err = errors.Join(err, i.end(r.name))
	}
	return err
}

// kill ends one part with SIGKILL, if it runs.
func (i *installation) kill(name string) {
	if p, runs := i.parts[name]; runs {
		p.Kill()
		delete(i.parts, name)
		i.order = slices.DeleteFunc(i.order, func(other string) bool { return other == name })
	}
}

// freeAddrs are so many addresses of this machine on which nothing listens.
func freeAddrs(count int) ([]string, error) {
	addrs := make([]string, count)
	for n := range addrs {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		addrs[n] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return addrs, nil
}
