package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
)

// CatalogStream is the stream of the catalog's bucket. It has the number of replicas of the installation. It is the first that is made, and the first that is changed.
const CatalogStream = "KV_" + names.CatalogBucket

// Replicas returns of how many servers each stream of the installation is kept on. That is a property of the installation, which
// the setting decides when it is made, and "hydrant replicas" changes; a service that is started with another number goes by
// the installation's.
func Replicas(ctx context.Context, js jetstream.JetStream) (int, error) {
	stream, err := js.Stream(ctx, CatalogStream)
	if err != nil {
		return 0, fmt.Errorf("read the number of replicas: %w", err)
	}
	return stream.CachedInfo().Config.Replicas, nil
}

// SetReplicas changes on how many servers one stream is kept, if it is another number; it does not wait until they have it. To
// repeat it changes nothing. One that is carried out late sets what was asked for then, which another look finds.
func SetReplicas(ctx context.Context, js jetstream.JetStream, stream string, replicas int) (changed bool, err error) {
	have, err := js.Stream(ctx, stream)
	if err != nil {
		return false, err
	}
	config := have.CachedInfo().Config
	if config.Replicas == replicas {
		return false, nil
	}
	config.Replicas = replicas
	_, err = js.UpdateStream(ctx, config)
	return true, err
}

// grow gives a stream as many replicas as the installation has, and takes none away.
func grow(ctx context.Context, js jetstream.JetStream, stream string, replicas int) (changed bool, err error) {
	have, err := js.Stream(ctx, stream)
	if err != nil || have.CachedInfo().Config.Replicas >= replicas {
		return false, err
	}
	return SetReplicas(ctx, js, stream, replicas)
}

// IsHydrants tells the streams of an installation, those of buckets and logs among them, from others in the same account.
func IsHydrants(stream string) bool {
	if _, isLog := names.ParseLog(stream); isLog {
		return true
	}
	return slices.Contains(ownStreams(), stream)
}

// ownStreams are the names of the streams of an installation, but those of logs.
func ownStreams() []string {
	var own []string
	for _, s := range streamConfigs(Config{}, 0) {
		own = append(own, s.Name)
	}
	for _, b := range bucketConfigs() {
		own = append(own, "KV_"+b.Bucket)
	}
	return own
}

// CreateLog makes a log with as many replicas as the installation has. It is no error if it is there, from another process or a
// try whose answer was lost.
//
// The number may change between a look at it and the creation, even if that comes a minute late: so it is looked at again
// when the log is there, and the log follows. Nobody may put into it before.
func CreateLog(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	replicas, err := Replicas(ctx, js)
	if err != nil {
		return err
	}
	want.Replicas = replicas
	if err := createStream(ctx, js, want); err != nil {
		return err
	}
	for changed := true; changed; {
		if replicas, err = Replicas(ctx, js); err != nil {
			return err
		}
		if changed, err = SetReplicas(ctx, js, want.Name, replicas); err != nil {
			return fmt.Errorf("set the replicas of %s: %w", want.Name, err)
		}
	}
	return nil
}
