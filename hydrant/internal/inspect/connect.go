// Package inspect is what the command-line tools that look at an installation share: asking for a bounded time, and reading streams
// without taking anything from anybody. It changes nothing in an installation.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
)

// connectTime is how long NATS may take to answer before it counts as not there.
const connectTime = 2500 * time.Millisecond

// connect returns a connection for the program of that name, or says within connectTime that there is none to be had, which a connection of a service,
// that waits for NATS, does not. Once made it is made again whenever it is lost.
func connect(ctx context.Context, cfg broker.Config, program string) (*nats.Conn, error) {
	servers := strings.Count(cfg.NATSURL, ",") + 1
	options := []nats.Option{
		nats.Name(program),
		nats.Timeout(connectTime / time.Duration(servers)), // they are tried one after the other
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // what fails is shown by who asked
	}
	if cfg.NATSCreds != "" {
		options = append(options, nats.UserCredentials(cfg.NATSCreds))
	}
	if cfg.NATSCA != "" {
		options = append(options, nats.RootCAs(cfg.NATSCA))
	}
	conn, err := nats.Connect(cfg.NATSURL, options...)
	if err != nil {
		explained := unreachable(WithoutUser(cfg.NATSURL), err)
		if connectionPasses(err) {
			return nil, passing{explained}
		}
		return nil, explained
	}
	if ctx.Err() != nil {
		conn.Close()
		return nil, ctx.Err()
	}
	return conn, nil
}

func unreachable(address string, cause error) error {
	const text = "no NATS at %s: is Hydrant running? (--nats-url, HYDRANT_NATS_URL)"
	var leaky *url.Error // shows the address, with its password
	if errors.Is(cause, nats.ErrNoServers) || errors.As(cause, &leaky) {
		return fmt.Errorf(text, address)
	}
	return fmt.Errorf(text+": %w", address, cause)
}

// Explain names what is missing behind an error of the first requests.
func Explain(err error, address string) error {
	switch {
	case err == nil, errors.Is(err, catalog.ErrNotFound), errors.Is(err, ErrNoInstallation):
		return err
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the NATS at %s has no JetStream for this user: %w", address, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return fmt.Errorf("the connection to NATS at %s is lost", address)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("JetStream at %s does not answer: %w", address, err)
	default:
		return fmt.Errorf("NATS at %s: %w", address, err)
	}
}

// WithoutUser takes user and password out of addresses separated by commas.
func WithoutUser(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, a := range list {
		a = strings.TrimSpace(a)
		if at := strings.LastIndexByte(a, '@'); at >= 0 {
			scheme, _, found := strings.Cut(a[:at], "://")
			a = a[at+1:]
			if found {
				a = scheme + "://" + a
			}
		}
		list[i] = a
	}
	return strings.Join(list, ",")
}
