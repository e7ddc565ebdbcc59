package broker

import (
	"context"
	"errors"
	"slices"

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

// ensureStream makes a stream that is missing, brings one that is there up to date, and tells whether it did either.
func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (changed bool, err error) {
	have, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return true, createStream(ctx, js, want)
	}
	if err != nil {
		return false, err
	}
	config, changed := upToDate(have.CachedInfo().Config, want)
	if !changed {
		return false, nil
	}
	_, err = js.UpdateStream(ctx, config)
	return true, err
}

// createStream makes a stream. It is no error that another process was first, with its own settings.
func createStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	_, err := js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return err
}

// upToDate is what is to become of a stream that is there. It has the configured age, since a longer retention must not
// find descriptors that end earlier; the bounds, which earlier versions did not set, unless somebody else set one; the
// subjects of this version; and no fewer replicas than the installation: "hydrant replicas" may have ended half-way, and takes
// away the others itself.
func upToDate(have, want jetstream.StreamConfig) (config jetstream.StreamConfig, changed bool) {
	config = have
	config.MaxAge = max(have.MaxAge, want.MaxAge)
	if have.MaxMsgs <= 0 && want.MaxMsgs > 0 {
		config.MaxMsgs = want.MaxMsgs
	}
	if have.MaxMsgsPerSubject <= 0 && want.MaxMsgsPerSubject > 0 {
		config.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	}
	config.Replicas = max(have.Replicas, want.Replicas)
	config.Subjects = joined(have.Subjects, want.Subjects)
	changed = config.MaxAge != have.MaxAge || config.MaxMsgs != have.MaxMsgs || config.MaxMsgsPerSubject != have.MaxMsgsPerSubject ||
		config.Replicas != have.Replicas || !slices.Equal(config.Subjects, have.Subjects)
	return config, changed
}

// joined adds the subjects that are missing, and takes none away that a later version may have added. What was stored under
// a subject that is given up stays.
//
// A service of an earlier version that starts later makes no difference: it carries on the subjects that are there.
func joined(have, want []string) []string {
	all := slices.DeleteFunc(slices.Clone(have), func(s string) bool { return s == formerDeliveries })
	for _, s := range want {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// formerDeliveries was the subject of DELIVERIES before there was STAGING, whose subjects it takes in.
const formerDeliveries = "deliveries.>"
