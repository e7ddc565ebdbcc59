package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthTimeout is how long a service may take to say that it is ready: less than an engine gives a health check.
const healthTimeout = 3 * time.Second

// AskHealth asks the service whose admin port listens at addr whether it is ready, and returns its answer. The error says why it
// is not, or why that cannot be known. It is for health checks of images that hold nothing but the program.
func AskHealth(ctx context.Context, addr string) (string, error) {
	reachable, err := reachableAt(addr)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable+"/readyz", nil)
	if err != nil {
		return "", fmt.Errorf("--admin-addr (HYDRANT_ADMIN_ADDR): %w", err)
	}
	// No proxy of the environment: the question is to this machine.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	return readiness(answer)
}

// reachableAt is the address under which a listener at addr is reached from the same machine.
func reachableAt(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("--admin-addr (HYDRANT_ADMIN_ADDR): %w", err)
	}
	if port == "0" || port == "" {
		return "", fmt.Errorf("--admin-addr (HYDRANT_ADMIN_ADDR): %s is not accepted with --health; use the address of a running service, with its port", addr)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

func readiness(answer *http.Response) (string, error) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	text = bytes.TrimSpace(text)
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("not ready (%s): %s", answer.Status, text)
	}
	return string(text), err
}
