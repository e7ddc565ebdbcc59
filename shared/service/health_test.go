package service

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"hydrant/shared/natstest"
)

func TestAskHealth(t *testing.T) {
	ready, _ := serve(t, func() error { return nil })
	waiting, _ := serve(t, func() error { return errors.New("waiting for NATS") })
	gone, stop := serve(t, func() error { return nil })
	stop()
	_, port, err := net.SplitHostPort(ready.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, addr, want string // want is a part of the error; "" is none
	}{
		{"ready", ready.Addr(), ""},
		{"ready, listening at every address", "0.0.0.0:" + port, ""},
		{"ready, listening at every address, in short", ":" + port, ""},
		{"not ready", waiting.Addr(), "waiting for NATS"},
		{"not running", gone.Addr(), "connection refused"},
		{"a port that only the service knows", "127.0.0.1:0", "HYDRANT_ADMIN_ADDR"},
		{"no port", "127.0.0.1", "HYDRANT_ADMIN_ADDR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, err := AskHealth(t.Context(), c.addr)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if err == nil && answer != "ready" {
				t.Errorf("the answer is %q", answer)
			}
		})
	}
}

// A service that holds its answer back is not healthy: the engine's own time limit would only kill the check.
func TestAskHealthOfSilence(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if _, err := AskHealth(t.Context(), silent.Addr().String()); err == nil {
		t.Error("it is healthy")
	}
}

// The program asks another process of itself, as an image's health check does, with the same environment.
func TestHealthFlag(t *testing.T) {
	p := start(t, "runs", nil, "--log-format=json")
	defer func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		p.end(t)
	}()
	address := regexp.MustCompile(`"admin port".*"addr":"([^"]+)"`)
	var found []string
	natstest.WaitFor(t, "it says where its admin port is", func() bool {
		found = address.FindStringSubmatch(p.stderr.String())
		return found != nil
	})
	env := []string{"HYDRANT_ADMIN_ADDR=" + found[1]}
	if check := start(t, "is not run", env, "--health"); check.end(t) != 0 || check.stdout.String() != "ready\n" {
		t.Errorf("of a service that runs it writes %q and %q", check.stdout.String(), check.stderr.String())
	}
	check := start(t, "is not run", []string{"HYDRANT_ADMIN_ADDR=127.0.0.1:1"}, "--health")
	if check.end(t) != 1 || !strings.Contains(check.stderr.String(), "hydrant-test: ") {
		t.Errorf("of a service that does not run it writes %q and %q", check.stdout.String(), check.stderr.String())
	}
}

// A variable of the flag's name would make every service ask and end.
func TestHealthHasNoVariable(t *testing.T) {
	p := start(t, "fails", []string{"HYDRANT_HEALTH=true"})
	if p.end(t) != 1 || !strings.Contains(p.stderr.String(), "out of luck") {
		t.Errorf("it writes %q and %q", p.stdout.String(), p.stderr.String())
	}
}
