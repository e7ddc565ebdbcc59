package allinone

import (
	"context"
	"errors"
	"fmt"
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

// note tells the tools where the embedded S3 server is, as long as it runs. After a kill it stays, and tells where one was.
func (s *services) note(ctx context.Context) error {
	if !s.awaitReady(ctx) {
		return nil
	}
	conn, err := nats.Connect(s.nats.URL(), nats.Name("hydrant run"))
	if err != nil {
		return fmt.Errorf("tell the tools where the S3 server is: %w", err)
	}
	defer conn.Close()
	kv, err := bucket(ctx, conn)
	if err != nil {
		return fmt.Errorf("tell the tools where the S3 server is: %w", err)
	}
	if _, err := kv.PutString(ctx, s3Key, "http://"+s.cfg.S3Listen); err != nil && ctx.Err() == nil {
		return fmt.Errorf("tell the tools where the S3 server is: %w", err)
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	_ = kv.Delete(ending, s3Key) // a note that stays leads to where nobody answers, which says so
	return nil
}

func bucket(ctx context.Context, conn *nats.Conn) (jetstream.KeyValue, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, names.InstallationBucket)
}

// EmbeddedS3 returns the settings to reach the S3 server of the installation that is all in one process; false if there is none. Access
// key and secret are those that the environment gives it, or its own.
func EmbeddedS3(ctx context.Context, js jetstream.JetStream, s objectstore.Settings) (objectstore.Settings, bool, error) {
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
	var own Config
	if err := settings.FromEnvironment(&own); err != nil {
		return s, false, err
	}
	s.S3Endpoint, s.S3PathStyle, s.STSEndpoint = string(entry.Value()), true, ""
	if s.S3AccessKeyID == "" {
		s.S3AccessKeyID, s.S3SecretAccessKey, s.S3SessionToken = own.S3AccessKey, own.S3SecretKey, ""
	}
	return s, true, nil
}
