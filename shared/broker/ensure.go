package broker

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// The bounds of ERRORS and METRICS, which discard their oldest messages there: one broken delivery stream is not to fill
// the store that all the others' records are in. They are numbers of messages, of about the given size, because JetStream
// reserves a bound in bytes: a store in which something else is reserved would refuse it, and one that is reserved to the
// last byte refuses every new stream.
const (
	mostTellingBytes  = 1 << 30
	leastTellingBytes = 10 << 20
	tellingShare      = 20 // of the store, where its size is known

	errorBytes     = 1000
	datapointBytes = 350

	// mostOfOneLog keeps the log of a delivery stream that fails all the time from pushing out those of the others.
	mostOfOneLog = 100_000
)

// tellingBytes is about what each of the streams that tell of Hydrant itself may hold. An unknown size of the store is no
// reason not to start.
func tellingBytes(ctx context.Context, js jetstream.JetStream, cfg Config) int64 {
	store, err := Usage(ctx, js, cfg)
	if err != nil || store.Limit <= 0 {
		return mostTellingBytes
	}
	return min(max(store.Limit/tellingShare, leastTellingBytes), mostTellingBytes)
}

// ensureStream makes a stream that is missing, and brings one that is there up to the configured age, since a longer
// retention must not find descriptors that end earlier, and to the bounds, which earlier versions did not set. A bound
// that somebody else set stays.
func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	have, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil // another service was first, with its own settings
		}
		return err
	}
	if err != nil {
		return err
	}
	config := have.CachedInfo().Config
	old := config
	config.MaxAge = max(config.MaxAge, want.MaxAge)
	if config.MaxMsgs <= 0 && want.MaxMsgs > 0 {
		config.MaxMsgs = want.MaxMsgs
	}
	if config.MaxMsgsPerSubject <= 0 && want.MaxMsgsPerSubject > 0 {
		config.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	}
	if config.MaxAge == old.MaxAge && config.MaxMsgs == old.MaxMsgs && config.MaxMsgsPerSubject == old.MaxMsgsPerSubject {
		return nil
	}
	_, err = js.UpdateStream(ctx, config)
	return err
}
