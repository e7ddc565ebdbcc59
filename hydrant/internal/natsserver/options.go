package natsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// The server's default of 1,000 consumers a stream stops at 1,000 delivery streams, each of which has a durable consumer
	// a leg on BATCHES.
	unlimited = -1

	// Each shard may have an atomic batch in flight. The server's default allows 1,000 together, and refuses the next.
	maxBatchesInFlight = 100_000

	// Requests to the JetStream API queue up when thousands of streams and consumers are made or looked at together. Beyond
	// this number the server drops all that wait, and their callers only see a timeout.
	apiQueue = 100_000
)

// options are the server's options for cfg. What is not set here is at the server's default, the 1 MiB of max_payload with it.
func options(cfg Config) (*server.Options, error) {
	if cfg.StoreDir == "" {
		// The server would take a folder in /tmp, and lose everything at the next reboot.
		return nil, errors.New("no store directory is set")
	}
	if cfg.StoreBytes < 0 {
		return nil, fmt.Errorf("store bytes %d: accepted are 0 and more", cfg.StoreBytes)
	}
	host, port, err := listenAddr(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("NATS address: %w", err)
	}
	opts := &server.Options{
		ServerName:                 "hydrant",
		Host:                       host,
		Port:                       port,
		NoSigs:                     true,
		PingInterval:               pingInterval,
		MaxPingsOut:                maxPings,
		DisableJetStreamBanner:     true,
		JetStream:                  true,
		StoreDir:                   cfg.StoreDir,
		SyncAlways:                 true,
		JetStreamMaxStore:          cfg.StoreBytes,
		JetStreamRequestQueueLimit: apiQueue,
		JetStreamLimits: server.JSLimitOpts{
			DefaultMaxConsumers:   unlimited,
			MaxBatchInflightTotal: maxBatchesInFlight,
		},
	}
	if cfg.MonitorAddr != "" {
		if opts.HTTPHost, opts.HTTPPort, err = listenAddr(cfg.MonitorAddr); err != nil {
			return nil, fmt.Errorf("NATS monitoring address: %w", err)
		}
	}
	return opts, nil
}

// A client that is silent for pingInterval × maxPings is dropped: sooner than the duplicate window of the record logs ends,
// so that what a frozen process had on its way when its put was repeated elsewhere cannot be stored after it.
const (
	pingInterval = 20 * time.Second
	maxPings     = 2
)

// listenAddr splits a host:port into what the server's options take: they use -1 for any free port, and 0 for the default.
func listenAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q: accepted is host:port: %w", addr, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q: accepted is a port from 0 to 65535: %w", addr, err)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// portsFree fails when one of the addresses cannot be listened on. The server would find out only after it has recovered
// the store, and would report it as a line of log.
func portsFree(ctx context.Context, addrs ...string) error {
	var listen net.ListenConfig
	for _, addr := range addrs {
		if addr == "" {
			continue
		}
		l, err := listen.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("the NATS server cannot listen on %s: %w", addr, err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close the test listener on %s: %w", addr, err)
		}
	}
	return nil
}
