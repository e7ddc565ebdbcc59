package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
	"hydrant/shared/pause"
)

// manyConsumers lifts the server's default of 1,000 consumers a stream: every delivery stream has one for each leg.
const manyConsumers = 100_000

// minimalDuplicates is the smallest duplicate window that JetStream accepts. A restart reads the whole window back, so
// streams that need none have the smallest.
const minimalDuplicates = 100 * time.Millisecond

// LogConfig is the JetStream stream that keeps a log.
func LogConfig(log names.Log, retention time.Duration, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               log.JetStream(),
		Subjects:           []string{log.Subject()},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxAge:             retention,
		Duplicates:         min(DuplicateWindow, retention),
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Replicas:           replicas,
		MaxConsumers:       manyConsumers,
		MaxMsgsPerSubject:  neverReached,
	}
}

// neverReached is a limit that makes JetStream keep a log in blocks of 4 MB instead of 8, and does nothing else. It holds the
// last blocks of each log in memory for ten seconds.
const neverReached = 1 << 50

// DuplicateWindow is how long a put is known again by its Nats-Msg-Id. An id costs the server about 250 bytes.
const DuplicateWindow = 2 * time.Minute

// ensureTopology makes what is missing, and returns when a look finds nothing to do. The catalog comes first, because it has the
// number of replicas of all the others. That is read again after each change: it may be another meanwhile, and an update of
// this process, which has all of a stream's settings in it, may have put the former one back.
func ensureTopology(ctx context.Context, js jetstream.JetStream, cfg Config) error {
	for changed := true; changed; {
		replicas, err := Replicas(ctx, js)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if err := ensureBuckets(ctx, js, cfg.Replicas, bucketConfigs()[:1]); err != nil {
				return err
			}
			continue // what there is now may be another service's, with its number
		}
		if err != nil {
			return err
		}
		if changed, err = ensureStreams(ctx, js, cfg, replicas); err != nil {
			return err
		}
	}
	return nil
}

// ensureStreams sees to all streams and buckets at once: where a server is gone, each that is made may have to wait until one of those
// that are left leads it.
func ensureStreams(ctx context.Context, js jetstream.JetStream, cfg Config, replicas int) (changed bool, err error) {
	streams := streamConfigs(cfg, tellingBytes(ctx, js, cfg))
	buckets := bucketConfigs()
	did, errs := make([]bool, len(streams)+len(buckets)), make([]error, len(streams)+len(buckets))
	var ensuring sync.WaitGroup
	for i, chain := range chains(streams) {
		ensuring.Go(func() { did[i], errs[i] = ensureChain(ctx, js, chain, replicas) })
	}
	for i, b := range buckets {
		ensuring.Go(func() { did[len(streams)+i], errs[len(streams)+i] = ensureGrown(ctx, js, b, replicas) })
	}
	ensuring.Wait()
	return slices.Contains(did, true), cmp.Or(errs...)
}

// chains are the streams in the order in which they have to be made: STAGING takes over what DELIVERIES gives up, and every other may
// be made beside them.
func chains(streams []jetstream.StreamConfig) (all [][]jetstream.StreamConfig) {
	for _, s := range streams {
		if s.Name == names.StagingStream {
			all[len(all)-1] = append(all[len(all)-1], s)
			continue
		}
		all = append(all, []jetstream.StreamConfig{s})
	}
	return all
}

func ensureChain(ctx context.Context, js jetstream.JetStream, chain []jetstream.StreamConfig, replicas int) (changed bool, err error) {
	for _, s := range chain {
		s.Replicas = replicas
		did, err := ensureStream(ctx, js, s)
		if err != nil {
			return false, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		changed = changed || did
	}
	return changed, nil
}

// ensureGrown makes a bucket that is missing, and gives one that is there as many replicas as the installation has. The catalog has
// that number itself.
func ensureGrown(ctx context.Context, js jetstream.JetStream, b jetstream.KeyValueConfig, replicas int) (changed bool, err error) {
	if err := ensureBuckets(ctx, js, replicas, []jetstream.KeyValueConfig{b}); err != nil || b.Bucket == names.CatalogBucket {
		return false, err
	}
	changed, err = grow(ctx, js, "KV_"+b.Bucket, replicas)
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", b.Bucket, err)
	}
	return changed, nil
}

// streamConfigs are the streams of an installation, but those of buckets and logs. Room is about what each that tells of Hydrant itself may hold.
func streamConfigs(cfg Config, room int64) []jetstream.StreamConfig {
	// A descriptor outlives the records of its batch by an hour, so that a cursor is never gone while a record that it
	// covers is still there.
	streams := []jetstream.StreamConfig{
		{Name: names.BatchesStream, Subjects: []string{names.AllBatches}, MaxAge: cfg.Retention + time.Hour},
		{Name: names.DeliveriesStream, Subjects: names.DeliveriesSubjects(), MaxAge: 14 * 24 * time.Hour},
		stagingConfig(), // behind DELIVERIES, which had its subjects in earlier versions
		{Name: names.ErrorsStream, Subjects: []string{names.AllErrors}, MaxAge: 14 * 24 * time.Hour, MaxMsgs: room / errorBytes, MaxMsgsPerSubject: mostOfOneLog},
		{Name: names.MetricsStream, Subjects: []string{names.AllMetrics}, MaxAge: 14 * 24 * time.Hour, MaxMsgs: room / datapointBytes, AllowAtomicPublish: true},
		retriesConfig(cfg.Retention),
	}
	for i := range streams {
		s := &streams[i]
		s.Storage = jetstream.FileStorage
		s.Duplicates = minimalDuplicates
		s.MaxConsumers = manyConsumers
		s.AllowDirect = !askedOfLeader(s.Name)
	}
	return streams
}

// bucketConfigs are the buckets, that of the catalog first.
func bucketConfigs() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{Bucket: names.CatalogBucket, Description: "delivery streams"},
		{Bucket: names.InstallationBucket, Description: "the installation"},
		{Bucket: names.MembersBucket, Description: "live replicas", TTL: MemberTTL},
	}
}

func ensureBuckets(ctx context.Context, js jetstream.JetStream, replicas int, buckets []jetstream.KeyValueConfig) error {
	for _, b := range buckets {
		b.Replicas = replicas
		if err := ensureBucket(ctx, js, b); err != nil {
			return fmt.Errorf("bucket %s: %w", b.Bucket, err)
		}
	}
	return nil
}

// stagingConfig is the stream of staged objects. An announcement stays until the object is loaded or set aside, however long
// that takes, and none pushes out another: where there is no room it is refused, and the batch of the object is not
// acknowledged.
func stagingConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: names.StagingStream, Description: "objects that wait to be loaded", Subjects: []string{names.AllStaging},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
	}
}

// askedOfLeader tells the streams of which the newest message counts, which the leader has: cursors, and first failures.
func askedOfLeader(stream string) bool {
	return stream == names.BatchesStream || stream == retriesStream
}

const retriesStream = "KV_" + names.RetriesBucket

// retriesConfig is the stream of the bucket RETRIES. An entry outlives the descriptor of its batch, which was there when it
// was last written. A longer retention holds for entries that are there already, which is why their age is the bucket's and
// not their own. How much they are together is bounded by what waits for delivery: each is of one batch in the log, and
// small beside it.
//
// The client's own way to make a bucket lets any replica answer.
func retriesConfig(retention time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: retriesStream, Description: "batches that failed", Subjects: []string{"$KV." + names.RetriesBucket + ".>"},
		MaxAge: retention + time.Hour, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true,
	}
}

// ensureBucket makes a bucket that is missing. The client gives its stream a duplicate window of minutes, which nothing
// needs.
func ensureBucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) error {
	_, err := js.CreateKeyValue(ctx, want)
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return err
	}
	stream, err := js.Stream(ctx, "KV_"+want.Bucket)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	if config.Duplicates <= minimalDuplicates {
		return nil
	}
	config.Duplicates = minimalDuplicates
	_, err = js.UpdateStream(ctx, config)
	return err
}

// MemberTTL is how long a replica counts as live after its last sign of life.
const MemberTTL = 10 * time.Second

// InstallationID returns the installation's id, which is made once. Of several that make it at the same time one wins, and
// all return its id. After a lost answer a repeat finds what was stored.
func InstallationID(ctx context.Context, js jetstream.JetStream) (string, error) {
	kv, err := js.KeyValue(ctx, names.InstallationBucket)
	if err != nil {
		return "", fmt.Errorf("read the installation's id: %w", err)
	}
	const key = "installation"
	_, err = kv.Create(ctx, key, []byte(names.NewStreamID()))
	if err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return "", fmt.Errorf("make the installation's id: %w", err)
	}
	entry, err := kv.Get(ctx, key)
	// A replica of the bucket that does not have the id yet may answer.
	for errors.Is(err, jetstream.ErrKeyNotFound) && pause.For(ctx, 50*time.Millisecond) {
		entry, err = kv.Get(ctx, key)
	}
	if err != nil {
		return "", fmt.Errorf("read the installation's id: %w", err)
	}
	return string(entry.Value()), nil
}
