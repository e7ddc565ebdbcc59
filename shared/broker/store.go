package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Store is the state of the JetStream store of one server: in a cluster the fullest that is known, since one that is full stops
// whatever has a replica there.
type Store struct {
	Used  int64 // bytes
	Limit int64 // bytes; 0 means not known

	// Unsynced is that a server acknowledges what a power failure would lose, and nobody has allowed it: one that was started anew with
	// other settings than those that services found when they started.
	Unsynced bool
	Untold   bool // no server says whether it syncs
}

// Usage returns how full the store is. The limit is the configured one, or the account's, or the server's.
func Usage(ctx context.Context, js jetstream.JetStream, cfg Config) (Store, error) {
	store, err := accountUsage(ctx, js, cfg)
	if err != nil || cfg.NATSMonitorURL == "" {
		return store, err
	}
	told, silent := readServers(ctx, cfg)
	switch {
	case store.Limit > 0 && cfg.StoreBytes == 0: // the account's
	case len(told) > 0:
		store = fullest(told, cfg)
	case store.Limit == 0:
		return Store{}, fmt.Errorf("read the limit of the JetStream store: %w", silent)
	}
	store.Unsynced, store.Untold = !cfg.AllowUnsynced && !allSync(told), len(told) == 0
	return store, nil
}

// accountUsage is the part of one server in what the account holds. JetStream counts each replica there, and against the
// account's limit; the replicas of a stream are on as many servers.
func accountUsage(ctx context.Context, js jetstream.JetStream, cfg Config) (Store, error) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return Store{}, fmt.Errorf("read the state of the JetStream store: %w", err)
	}
	replicas, err := Replicas(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		replicas, err = cfg.Replicas, nil // there is no installation yet
	}
	if err != nil {
		return Store{}, err
	}
	parts := int64(max(replicas, 1))
	return Store{
		Used:  int64(account.Store) / parts,
		Limit: cmp.Or(cfg.StoreBytes, max(account.Limits.MaxStore, 0)/parts),
	}, nil
}

// fullest is the state of the server that is fullest by its own limit, or by the configured one.
func fullest(told []serverSettings, cfg Config) Store {
	var most Store
	for _, settings := range told {
		s := Store{Used: settings.Stored, Limit: cmp.Or(cfg.StoreBytes, settings.Config.MaxStorage)}
		if most.Limit == 0 || s.share() > most.share() {
			most = s
		}
	}
	return most
}

func (s Store) share() float64 { return float64(s.Used) / float64(max(s.Limit, 1)) }
