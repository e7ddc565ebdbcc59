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
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/pause"
)

// Config is how to reach NATS, and what Hydrant's own streams there are like. Its tags make it flags and environment
// variables (package settings).
type Config struct {
	NATSURL        string        `name:"nats-url" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas."`
	NATSCreds      string        `name:"nats-creds" help:"File with NATS credentials (.creds)."`
	NATSCA         string        `name:"nats-ca" help:"File with the certificate authority of the NATS servers."`
	NATSMonitorURL string        `name:"nats-monitor-url" help:"Monitoring addresses of the NATS servers, separated by commas, for example http://127.0.0.1:8222. With them, Hydrant checks that the servers sync every write before they acknowledge, and reads how full their stores are, and their limits."`
	AllowUnsynced  bool          `name:"allow-unsynced" help:"Start on a NATS server that acknowledges before data is on disk. A power failure then loses acknowledged records."`
	StoreBytes     int64         `name:"store-bytes" default:"0" help:"Size of the JetStream store (max_file_store) of each NATS server in bytes. 0 means what the account's limit or the monitoring address says."`
	Replicas       int           `name:"replicas" default:"1" help:"JetStream replicas of every stream of a new installation: 1, 3 or 5. \"hydrant replicas\" changes those of one that is there."`
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
	for address := range strings.SplitSeq(c.NATSURL, ",") {
		if _, err := parse(address); err != nil {
			return fmt.Errorf("--nats-url (HYDRANT_NATS_URL): %s is not accepted; use addresses such as nats://127.0.0.1:4222, separated by commas", redact(c.NATSURL))
		}
	}
	return c.validateMonitors()
}

func (c Config) validateMonitors() error {
	for _, address := range c.monitors() {
		if u, err := parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("--nats-monitor-url (HYDRANT_NATS_MONITOR_URL): %s is not accepted; use addresses such as http://127.0.0.1:8222, separated by commas", redact(c.NATSMonitorURL))
		}
	}
	return nil
}

// monitors are the monitoring addresses.
func (c Config) monitors() []string {
	if c.NATSMonitorURL == "" {
		return nil
	}
	addresses := strings.Split(c.NATSMonitorURL, ",")
	for i := range addresses {
		addresses[i] = strings.TrimSpace(addresses[i])
	}
	return addresses
}

// Connect returns a connection that is or will be made: while NATS cannot be reached it goes on trying, and publishing
// fails at once.
//
// Refused credentials are tried again as well: they may be right once NATS has its new configuration, and a connection
// that gave up would leave a process that runs and never works again.
func Connect(cfg Config, name string, log *slog.Logger) (*nats.Conn, error) {
	repeated, unreachable := newRepeated(10*time.Second), newRepeated(10*time.Second)
	connected := func(c *nats.Conn) {
		unreachable.forget()
		log.Info("connected to NATS", "server", redact(c.ConnectedUrl()))
	}
	options := []nats.Option{
		nats.Name(name),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.Timeout(2 * time.Second),
		// A write holds the connection's lock, so to a server that does not read, nobody can do anything meanwhile, not
		// even close the connection. By default it may take a minute.
		nats.FlusherTimeout(5 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("disconnected from NATS", "error", err)
			}
		}),
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(connected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if !unreachable.is("unreachable") {
				log.Warn("NATS cannot be reached, trying on", "url", redact(cfg.NATSURL), "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if !repeated.is(subject + " " + err.Error()) {
				log.Warn("NATS", "subject", subject, "error", err)
			}
		}),
	}
	if cfg.NATSCreds != "" {
		if _, err := os.Stat(cfg.NATSCreds); err != nil {
			return nil, fmt.Errorf("--nats-creds (HYDRANT_NATS_CREDS): %w", err)
		}
		options = append(options, nats.UserCredentials(cfg.NATSCreds))
	}
	if cfg.NATSCA != "" {
		if _, err := os.Stat(cfg.NATSCA); err != nil {
			return nil, fmt.Errorf("--nats-ca (HYDRANT_NATS_CA): %w", err)
		}
		options = append(options, nats.RootCAs(cfg.NATSCA))
	}
	conn, err := nats.Connect(cfg.NATSURL, options...)
	if err != nil {
		if leaky := (*url.Error)(nil); errors.As(err, &leaky) {
			err = errNoAddress // the original shows the address, with its password
		}
		return nil, fmt.Errorf("connect to NATS at %s (--nats-url, HYDRANT_NATS_URL): %w", redact(cfg.NATSURL), err)
	}
	return conn, nil
}

var errNoAddress = errors.New("not an address")

// parse reads one address. Its error does not show the address, which may have a password in it.
func parse(address string) (*url.URL, error) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || strings.Contains(u.Path, "@") {
		return nil, errNoAddress
	}
	return u, nil
}

// redact takes user, password and token out of addresses that are to be shown.
func redact(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, address := range list {
		u, err := parse(address)
		switch {
		case err != nil && address == "":
			list[i] = "(empty)"
		case err != nil:
			list[i] = "(an address that cannot be parsed)"
		case u.User != nil:
			list[i] = u.Scheme + "://***@" + u.Host
		default:
			list[i] = u.Scheme + "://" + u.Host
		}
	}
	return strings.Join(list, ",")
}

// repeated finds out messages that are the same as the last one, and follow it soon.
type repeated struct {
	within time.Duration
	mu     sync.Mutex
	last   string
	at     time.Time
}

func newRepeated(within time.Duration) *repeated { return &repeated{within: within} }

func (r *repeated) is(message string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if message == r.last && time.Since(r.at) < r.within {
		return true
	}
	r.last, r.at = message, time.Now()
	return false
}

func (r *repeated) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = ""
}

// errNotConnected is what NATS' client calls a buffer without room, since nothing may wait in it. Why there is no connection is logged
// by who makes it.
var errNotConnected = errors.New("not connected to NATS")

// Prepare waits until JetStream answers, checks that it keeps what it acknowledges, and makes the streams and buckets of
// the installation where they are missing. It returns when ctx ends, when the server's settings are refused, or when all
// is there.
func Prepare(ctx context.Context, js jetstream.JetStream, cfg Config, log *slog.Logger) error {
	if err := checkServer(ctx, cfg, log); err != nil {
		return err
	}
	doubt := NewDoubt(js.Conn(), log)
	for attempt := 0; ; attempt++ {
		err := attemptTopology(ctx, js, cfg, attempt)
		if err == nil {
			return tellReplicas(ctx, js, cfg, log)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if Permanent(err) {
			return err
		}
		doubt.Note(err)
		if errors.Is(err, nats.ErrReconnectBufExceeded) {
			err = errNotConnected
		}
		if attempt%20 == 0 {
			log.Warn("waiting for JetStream", "url", redact(cfg.NATSURL), "error", err)
		}
		if !pause.For(ctx, 250*time.Millisecond) {
			return ctx.Err()
		}
	}
}

const (
	askTime      = 2 * time.Second
	patientTime  = 5 * time.Second
	askImpatient = 10
)

// attemptTopology asks with little patience at first. What is asked of a stream while its leader is gone nobody answers, not even the
// next leader: it has to be asked anew. A server that is only slow has more time then.
//
// What JetStream does after nobody waits any more, the next attempt finds done.
func attemptTopology(ctx context.Context, js jetstream.JetStream, cfg Config, attempt int) error {
	patience := askTime
	if attempt >= askImpatient {
		patience = patientTime
	}
	asking, err := jetstream.New(js.Conn(), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		return err
	}
	return ensureTopology(ctx, asking, cfg)
}

// tellReplicas says where the setting is not what counts. Whether it can is not worth a failure to start.
func tellReplicas(ctx context.Context, js jetstream.JetStream, cfg Config, log *slog.Logger) error {
	replicas, err := Replicas(ctx, js)
	if err == nil && replicas != cfg.Replicas {
		log.Warn("the installation has another number of replicas than --replicas (HYDRANT_REPLICAS) says, and keeps it: hydrant replicas changes it",
			"installation", replicas, "setting", cfg.Replicas)
	}
	return ctx.Err()
}

// Permanent tells the answers that no waiting will change: a request that JetStream understood and refused, and an
// account without JetStream. Where a cluster is starting or changing, the same request may succeed a little later.
func Permanent(err error) bool {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return true
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case tooFewPeers, memberChange, reconfiguration:
		return false
	case replicasNotSupported:
		return true
	default:
		return api.Code == 400
	}
}

// Error codes of the server for which nats.go has no name.
const (
	tooFewPeers          jetstream.ErrorCode = 10005 // no suitable peers for placement
	replicasNotSupported jetstream.ErrorCode = 10074 // replicas > 1 not supported in non-clustered mode
	memberChange         jetstream.ErrorCode = 10202 // cluster member change is in progress
	reconfiguration      jetstream.ErrorCode = 10226 // stream reconfiguration already in progress
)
