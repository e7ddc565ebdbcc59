// Package s3note tells the command-line tools where the S3 server is that is embedded in an installation. It is apart from what
// embeds one, so that the tools can be built without.
package s3note

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/settings"
)

const (
	// s3Key is where in the installation's bucket the address of the embedded S3 server is, for the command-line tools. It is no
	// secret; access key and secret are not there.
	s3Key = "embedded-s3"

	noteTime = 5 * time.Second
)

// Write tells the tools where the embedded S3 server is, until the returned function is called. After a kill the note stays, and tells
// where one was. That it cannot be written, as where the store is full, is no reason to deliver nothing: then a tool has to be told.
func Write(ctx context.Context, natsURL, endpoint string, log *slog.Logger) (withdraw func()) {
	withdraw, err := write(ctx, natsURL, endpoint)
	if err != nil {
		log.Warn("hydrant redrive will need --s3-endpoint: it could not be noted where the S3 server is", "endpoint", endpoint, "error", err)
		return func() {}
	}
	return withdraw
}

func write(ctx context.Context, natsURL, endpoint string) (withdraw func(), err error) {
	conn, err := nats.Connect(natsURL, nats.Name("hydrant run"))
	if err != nil {
		return nil, err
	}
	kv, err := bucket(ctx, conn)
	if err == nil {
		_, err = kv.PutString(ctx, s3Key, endpoint)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
		defer cancel()
		_ = kv.Delete(ending, s3Key) // a note that stays leads to where nobody answers, which says so
		conn.Close()
	}, nil
}

func bucket(ctx context.Context, conn *nats.Conn) (jetstream.KeyValue, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, names.InstallationBucket)
}

// keys are those of the embedded S3 server, by the settings and with the defaults that it has.
type keys struct {
	AccessKey string `name:"s3-access-key-id" default:"local"`
	SecretKey string `name:"s3-secret-access-key" default:"localsecret" secret:""`
}

// Find returns the settings to reach the S3 server of the installation that is all in one process; false if there is none. Access
// key and secret are those that the environment gives it, or its own.
func Find(ctx context.Context, js jetstream.JetStream, s objectstore.Settings) (objectstore.Settings, bool, error) {
	kv, err := js.KeyValue(ctx, names.InstallationBucket)
	if err != nil {
		return s, false, err
	}
	entry, err := kv.Get(ctx, s3Key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	var own keys
	if err := settings.FromEnvironment(&own); err != nil {
		return s, false, err
	}
	s.S3Endpoint, s.S3PathStyle, s.S3CreateBuckets, s.STSEndpoint = string(entry.Value()), true, true, ""
	if s.S3AccessKeyID == "" {
		s.S3AccessKeyID, s.S3SecretAccessKey, s.S3SessionToken = own.AccessKey, own.SecretKey, ""
	}
	return s, true, nil
}
