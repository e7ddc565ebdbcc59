package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// document puts a delivery stream into the catalog, as a replica that died left it.
func (s *site) document(name names.Stream, status types.DeliveryStreamStatus, shards int) *catalog.DeliveryStream {
	s.t.Helper()
	in := &firehose.CreateDeliveryStreamInput{ExtendedS3DestinationConfiguration: plainS3()}
	destination := must[catalog.Destination](s.t)(settingsOfCreate(in).destination(time.Now()))
	d := &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), ARN: "arn", Status: status, Created: time.Now().UTC(),
		Shards: shards, RetentionSeconds: 3600, Version: 1, Destination: destination,
	}
	if err := s.catalog().Create(s.t.Context(), d); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// log makes a record log.
func (s *site) log(log names.Log) {
	s.t.Helper()
	must[jetstream.Stream](s.t)(s.js.CreateStream(s.t.Context(), broker.LogConfig(log, time.Hour, 1)))
}

func soon(s *Service)  { s.resumeAfter = 10 * time.Millisecond }
func never(s *Service) { s.resumeAfter = time.Hour }

func (r *replica) active(name string) {
	r.t.Helper()
	eventually(r.t, name+" is ACTIVE", func() error {
		d, err := r.describe(name)
		if err == nil && d.DeliveryStreamStatus != types.DeliveryStreamStatusActive {
			err = fmt.Errorf("it is %s", d.DeliveryStreamStatus)
		}
		return err
	})
}

func TestCreationIsResumed(t *testing.T) {
	t.Parallel()
	for name, logs := range map[string]int{"before its logs": 0, "amid its logs": 2, "after its logs": 3} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r := s.start(soon)
			d := s.document("half.made", types.DeliveryStreamStatusCreating, 3)
			for shard := range logs {
				s.log(names.Log{Stream: d.Name, Shard: names.Shard(shard), ID: d.ID})
			}
			r.active("half.made")
			if n := len(s.logs()); n != 3 {
				t.Errorf("%d logs", n)
			}
			if _, err := r.put("half.made", "x"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCreationIsLeftToItsCreatorAtFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(never)
	s.document("c", types.DeliveryStreamStatusCreating, 1)
	for operation, body := range map[string]string{
		"DeleteDeliveryStream": `{"DeliveryStreamName":"c"}`,
		"UpdateDestination":    strings.Replace(updateWith("S3DestinationUpdate", ""), `"s"`, `"c"`, 1),
		"CreateDeliveryStream": strings.Replace(createWith(""), `"s"`, `"c"`, 1),
	} {
		if answer := r.raw(operation, body); answer.Type != "ResourceInUseException" {
			t.Errorf("%s: %s", operation, answer.Body)
		}
	}
	if d, err := r.describe("c"); err != nil || d.DeliveryStreamStatus != types.DeliveryStreamStatusCreating {
		t.Errorf("%v, %v", d, err)
	}
	two := s.start(soon)
	two.active("c")
}

func TestDeletionIsResumed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one := s.start()
	one.create("d")
	one.create("e")
	if _, err := one.put("d", "x"); err != nil {
		t.Fatal(err)
	}
	one.stop()
	// The replica died after it had stored DELETING, and, for e, after it had removed everything but the document.
	documents := s.catalog()
	for _, name := range []names.Stream{"d", "e"} {
		d, err := documents.Update(t.Context(), name, func(d *catalog.DeliveryStream) error {
			d.Status = types.DeliveryStreamStatusDeleting
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if name == "e" {
			if err := s.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.publishBatches("d", 2)
	s.announce("d", 2)
	s.announce("other", 1)
	two := s.start()
	two.gone("d")
	two.gone("e")
	if logs := s.logs(); len(logs) != 0 || s.batches("d") != 0 || s.staged("d") != 0 || s.staged("other") != 1 {
		t.Errorf("left: %v, %d batches, %d objects and %d of another", logs, s.batches("d"), s.staged("d"), s.staged("other"))
	}
}

func TestDeletingTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start().stop() // makes the streams of the installation
	s.document("d", types.DeliveryStreamStatusDeleting, 1)
	// A stream that takes the place of BATCHES keeps the removal from being finished.
	if err := s.js.DeleteStream(t.Context(), names.BatchesStream); err != nil {
		t.Fatal(err)
	}
	must[jetstream.Stream](t)(s.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.BatchesStream, Subjects: []string{names.AllBatches}, DenyPurge: true, Storage: jetstream.FileStorage, MaxAge: 48 * time.Hour,
	}))
	r := s.start()
	r.delete("d")
	answer := r.raw("CreateDeliveryStream", strings.Replace(createWith(""), `"s"`, `"d"`, 1))
	if answer.Type != "ResourceInUseException" || answer.Message != "Firehose d under accountId 000000000000 already exists" {
		t.Error(answer.Body)
	}
	answer = r.raw("UpdateDestination", strings.Replace(updateWith("S3DestinationUpdate", ""), `"s"`, `"d"`, 1))
	if answer.Type != "ResourceInUseException" {
		t.Error(answer.Body)
	}
	d, err := r.describe("d")
	if err != nil || d.DeliveryStreamStatus != types.DeliveryStreamStatusDeleting {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := r.put("d", "x"); !isCode(err, "ResourceNotFoundException") {
		t.Errorf("put: %v", err)
	}
}

func TestOrphanLogIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(func(s *Service) { s.cfg.Shards = 2 })
	orphan := names.Log{Stream: "o", Shard: 1, ID: names.NewStreamID()}
	s.log(orphan)
	must[*jetstream.PubAck](t)(s.js.Publish(t.Context(), orphan.Subject(), []byte("old")))
	r.create("o")
	logs := s.logs()
	if len(logs) != 2 || slices.Contains(logs, orphan.JetStream()) || s.messages() != 0 {
		t.Errorf("%v, %d messages", logs, s.messages())
	}
}

func TestForeignStreamOnTheSubject(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	must[jetstream.Stream](t)(s.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "MINE", Subjects: []string{"records.f.>"}, Storage: jetstream.FileStorage,
	}))
	_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("f"), ExtendedS3DestinationConfiguration: plainS3(),
	})
	wantError(t, err, "InvalidArgumentException",
		"NATS subject records.f.0 belongs to the JetStream stream MINE, which is not Hydrant's: delete that stream or take another name")
	r.gone("f")
	if _, err := s.js.Stream(t.Context(), "MINE"); err != nil {
		t.Errorf("the stream of somebody else: %v", err)
	}
}

// lateCycle is the lifecycle of a process that wakes up late: it acts on what it knew before.
func (s *site) lateCycle(r *replica) *lifecycle {
	view := r.session.View()
	return &lifecycle{
		js: s.js, catalog: s.catalog(), view: view, prove: view.Prove, patience: time.Hour, log: discard(), wake: make(chan struct{}, 1),
	}
}

// TestCreatorThatWakesLate lets a creator go on after its delivery stream was finished by another replica, and deleted,
// and perhaps made again.
func TestCreatorThatWakesLate(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"deleted": false, "made again": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r := s.start()
			r.create("w")
			old := must[*streamDocument](t)(s.catalog().Read(t.Context(), "w"))
			r.delete("w")
			r.gone("w")
			want := 0
			if again {
				r.create("w")
				want = 1
			}
			asItWas := *old
			asItWas.Status = types.DeliveryStreamStatusCreating
			if err := s.lateCycle(r).finish(t.Context(), &asItWas); !errors.Is(err, errSuperseded) {
				t.Errorf("finish: %v", err)
			}
			if logs := s.logs(); len(logs) != want {
				t.Errorf("logs %v", logs)
			}
			if again {
				if _, err := r.put("w", "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRemoverThatWakesLate lets a remover go on after the delivery stream was made again and has batches.
func TestRemoverThatWakesLate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("w")
	old := must[*streamDocument](t)(s.catalog().Read(t.Context(), "w"))
	r.delete("w")
	r.gone("w")
	r.create("w")
	d := must[*streamDocument](t)(s.catalog().Read(t.Context(), "w"))
	id := must[string](t)(r.put("w", "x"))
	s.publishBatches("w", 2)
	s.announce("w", 2)
	s.consumer(names.LegS3, "w", d.ID)
	s.loader("w", d.ID)

	old.Status = types.DeliveryStreamStatusDeleting
	if err := s.lateCycle(r).remove(t.Context(), old); !errors.Is(err, errSuperseded) {
		t.Errorf("remove: %v", err)
	}
	if s.batches("w") != 2 || len(s.consumers()) != 1 || s.stored("w", id) != "x" {
		t.Errorf("%d batches, consumers %v", s.batches("w"), s.consumers())
	}
	if loaders := s.loaders(); s.staged("w") != 2 || len(loaders) != 1 {
		t.Errorf("%d staged objects, consumers %v", s.staged("w"), loaders)
	}
	r.active("w")
}

// TestPurgeEndsWhereTheCatalogWasSeen has batches and objects of a successor arrive between each look at the catalog and the purge
// that follows it: that of the batches, and that of the objects.
func TestPurgeEndsWhereTheCatalogWasSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start().stop()
	d := s.document("p", types.DeliveryStreamStatusDeleting, 1)
	s.publishBatches("p", 3)
	s.announce("p", 3)
	view := catalog.NewView(s.catalog(), discard())
	s.run(func(ctx context.Context) { view.Run(ctx, nil) })
	eventually(t, "the view is read", view.Ready)
	prove := func(ctx context.Context) error {
		defer s.announce("p", 1)
		defer s.publishBatches("p", 2)
		return view.Prove(ctx)
	}
	l := &lifecycle{js: s.js, catalog: s.catalog(), view: view, prove: prove, log: discard()}
	if err := l.remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if n := s.batches("p"); n != 2*2 {
		t.Errorf("%d batches are left", n)
	}
	if n := s.staged("p"); n != 1 {
		t.Errorf("%d objects are left", n)
	}
}

// TestCreateWithLostAnswers creates while NATS is restarted again and again.
func TestCreateWithLostAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(soon)
	created := make(chan error)
	go func() {
		var failures []error
		for i := range 15 {
			_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
				DeliveryStreamName: aws.String(fmt.Sprint("s", i)), ExtendedS3DestinationConfiguration: plainS3(),
			})
			if err != nil && !isCode(err, "ServiceUnavailableException") {
				failures = append(failures, err)
			}
		}
		created <- errors.Join(failures...)
	}()
	for {
		s.nats.Restart()
		select {
		case err := <-created:
			if err != nil {
				t.Error(err)
			}
			s.checkAllWhole(r)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// checkAllWhole waits until every delivery stream is ACTIVE, has its log, and takes a record.
func (s *site) checkAllWhole(r *replica) {
	s.t.Helper()
	eventually(s.t, "all are ACTIVE", func() error {
		if err := r.Ready(); err != nil {
			return err
		}
		out, err := r.client.ListDeliveryStreams(s.t.Context(), &firehose.ListDeliveryStreamsInput{Limit: aws.Int32(1000)})
		if err != nil {
			return err
		}
		for _, name := range out.DeliveryStreamNames {
			if _, err := r.put(name, "x"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

// TestReplicasDeleteAndCreateTogether has two replicas create, put to, and delete the same names at the same time. What
// was acknowledged is stored in the one that it was acknowledged for, and nothing else is left in the end.
func TestReplicasDeleteAndCreateTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	replicas := []*replica{s.start(soon), s.start(soon)}
	done := make(chan error)
	for worker := range 6 {
		r, name := replicas[worker%2], fmt.Sprint("shared", worker%3)
		go func() { done <- r.churn(name, 15) }()
	}
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for worker := range 3 {
		name := fmt.Sprint("shared", worker)
		eventually(t, name+" is gone", func() error {
			_, err := replicas[0].client.DeleteDeliveryStream(t.Context(), &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: &name})
			if isCode(err, "ResourceNotFoundException") {
				return nil
			}
			return fmt.Errorf("delete: %w", errors.Join(err, errors.New("not yet")))
		})
	}
	// A creation that was overtaken takes its logs away after the delivery stream is gone.
	eventually(t, "no logs are left", func() error {
		if logs := s.logs(); len(logs) != 0 {
			return fmt.Errorf("there are %v", logs)
		}
		return nil
	})
}

// churn creates, puts to and deletes a delivery stream, whatever others do to it, and returns the answers that must not be.
func (r *replica) churn(name string, rounds int) error {
	var wrong []error
	note := func(what string, err error, accepted ...string) {
		for _, code := range accepted {
			if isCode(err, code) {
				return
			}
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	for round := range rounds {
		_, err := r.client.CreateDeliveryStream(context.Background(), &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: plainS3(),
		})
		note("create", err, "ResourceInUseException")
		_, err = r.put(name, fmt.Sprint(round))
		note("put", err, "ResourceNotFoundException")
		_, err = r.client.DeleteDeliveryStream(context.Background(), &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: &name})
		note("delete", err, "ResourceNotFoundException", "ResourceInUseException")
	}
	return errors.Join(wrong...)
}
