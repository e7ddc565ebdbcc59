// Package broker connects a service to NATS and sees to what every service needs there.
//
// The connection has no reconnect buffer: what is published while NATS is away fails at once, for good. With one, a put
// that was refused would be stored later.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config is how to reach NATS, and what Hydrant's own streams there are like. Its tags make it flags and environment
// variables (package settings).
type Config struct {
	NATSURL        string        `name:"nats-url" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas."`
	NATSCreds      string        `name:"nats-creds" help:"File with NATS credentials (.creds)."`
	NATSCA         string        `name:"nats-ca" help:"File with the certificate authority of the NATS servers."`
	NATSMonitorURL string        `name:"nats-monitor-url" help:"Monitoring address of the NATS server, for example http://127.0.0.1:8222. With it, Hydrant checks that the server syncs every write before it acknowledges, and reads the limit of its store."`
	AllowUnsynced  bool          `name:"allow-unsynced" help:"Start on a NATS server that acknowledges before data is on disk. A power failure then loses acknowledged records."`
	StoreBytes     int64         `name:"store-bytes" default:"0" help:"Size of the JetStream store (max_file_store) in bytes. 0 means what the account's limit or the monitoring address says."`
	Replicas       int           `name:"replicas" default:"1" help:"JetStream replicas of every stream that Hydrant makes: 1, 3 or 5."`
	Retention      time.Duration `name:"retention" default:"24h" help:"How long a record is kept for delivery; new delivery streams take it over."`
}

// Validate finds wrong values.
func (c Config) Validate() error {
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		return fmt.Errorf("--replicas (HYDRANT_REPLICAS): %d is not accepted; use 1, 3 or 5", c.Replicas)
	}
	if c.Retention < time.Second || c.Retention > 7*24*time.Hour || c.Retention%time.Second != 0 {
		return fmt.Errorf("--retention (HYDRANT_RETENTION): %s is not accepted; use whole seconds from 1s to 168h", c.Retention)
	}
	if c.StoreBytes < 0 {
		return fmt.Errorf("--store-bytes (HYDRANT_STORE_BYTES): %d is not accepted; use 0 or more", c.StoreBytes)
	}
	return nil
}

// Connect returns a connection that is or will be made: while NATS cannot be reached it goes on trying, and publishing
// fails at once.
func Connect(cfg Config, name string, log *slog.Logger) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(name),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("disconnected from NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to NATS", "server", redact(c.ConnectedUrl())) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS", "subject", subject, "error", err)
		}),
	}
	if cfg.NATSCreds != "" {
		options = append(options, nats.UserCredentials(cfg.NATSCreds))
	}
	if cfg.NATSCA != "" {
		options = append(options, nats.RootCAs(cfg.NATSCA))
	}
	conn, err := nats.Connect(cfg.NATSURL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s (--nats-url, HYDRANT_NATS_URL): %w", redact(cfg.NATSURL), err)
	}
	return conn, nil
}

// redact takes a password out of an address that is to be shown.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(an address that cannot be parsed)"
	}
	return u.Redacted()
}

// Prepare waits until JetStream answers, checks that it keeps what it acknowledges, and makes the streams and buckets of
// the installation where they are missing. It returns when ctx ends, when the server's settings are refused, or when all
// is there.
func Prepare(ctx context.Context, js jetstream.JetStream, cfg Config, log *slog.Logger) error {
	if err := checkServer(ctx, cfg, log); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		err := ensureTopology(ctx, js, cfg)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if permanent(err) {
			return err
		}
		if attempt%20 == 0 {
			log.Warn("waiting for JetStream", "url", redact(cfg.NATSURL), "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// permanent tells the answers that no waiting will change: a request that JetStream understood and refused, and an
// account without JetStream.
func permanent(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 400
	}
	return errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}
