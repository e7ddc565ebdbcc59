package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hydrant/shared/proc"
)

// partFront is HAProxy in front of ingest.
const partFront = "haproxy"

// startFront starts HAProxy on so many replicas, with the settings of deploy/haproxy.cfg, and returns where it listens.
func (i *installation) startFront(ctx context.Context, replicas []replica) (addr string, err error) {
	program, err := haproxy()
	if err != nil {
		return "", err
	}
	deployed, err := deployedFront()
	if err != nil {
		return "", err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return "", err
	}
	config, err := frontConfig(deployed, addrs[0], addrs[1], replicas)
	if err != nil {
		return "", err
	}
	file := filepath.Join(i.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", err
	}
	log := filepath.Join(i.dir, "haproxy.log")
	if err := i.run(proc.Spec{Name: partFront, Path: program, Args: []string{"-db", "-f", file}, LogFile: log}); err != nil {
		return "", err
	}
	timed, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return addrs[0], i.parts[partFront].WaitReady(timed, "http://"+addrs[1]+"/healthy")
}

// endFront ends HAProxy at once: nothing is under way.
func (i *installation) endFront() { i.kill(partFront) }

// haproxy finds the program, which Debian keeps out of an ordinary user's path.
func haproxy() (string, error) {
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("haproxy is not installed: apt-get install haproxy")
}

// deployedFront is the configuration that compose.yaml uses.
func deployedFront() (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	config, err := os.ReadFile(filepath.Join(root, "deploy", "haproxy.cfg"))
	return string(config), err
}

// frontConfig is that configuration, with the addresses of processes in the place of names that only
// Docker answers. It fails where it has none of what is to be replaced.
func frontConfig(deployed, api, admin string, replicas []replica) (string, error) {
	var servers strings.Builder
	for n, r := range replicas {
		_, port, err := net.SplitHostPort(r.listen)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&servers, "    server ingest-%d %s check port %s\n", n+1, r.api, port)
	}
	config, resolvers := withoutSection(deployed, "resolvers")
	for _, change := range []struct{ line, with string }{
		{"bind :4573", "    bind " + api + "\n"}, {"bind :8404", "    bind " + admin + "\n"}, {"server-template", servers.String()},
	} {
		var found bool
		if config, found = withLine(config, change.line, change.with); !found || !resolvers {
			return "", fmt.Errorf("deploy/haproxy.cfg has no section resolvers or no line %q any more", change.line)
		}
	}
	return config, nil
}

// withoutSection leaves out a section: from its name to the next line that is not indented.
func withoutSection(config, section string) (rest string, found bool) {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(config) {
		if line[0] != ' ' && line[0] != '\n' {
			inside = strings.HasPrefix(line, section)
			found = found || inside
		}
		if !inside {
			b.WriteString(line)
		}
	}
	return b.String(), found
}

// withLine puts something in the place of the line that begins so.
func withLine(config, start, with string) (changed string, found bool) {
	var b strings.Builder
	for line := range strings.Lines(config) {
		if strings.HasPrefix(strings.TrimSpace(line), start) {
			line, found = with, true
		}
		b.WriteString(line)
	}
	return b.String(), found
}
