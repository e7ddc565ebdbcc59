package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/shared/proc"
)

const (
	// bentoConfigs is where its configurations are, below the directory that this runs in.
	bentoConfigs = "bench/bento"

	// costBatches are how many objects of 128 MB each load of the comparison makes.
	costBatches = 4

	// bentoReader is the consumer that Bento reads from. Five objects of 128 MB, made of messages of 512,000 bytes, may be
	// under way.
	bentoReader  = "deliver"
	bentoPending = 1280

	ofBentos = "Hydrant's, of Bento's"
)

// bentoAdmin is where a process of Bento says that it is ready.
func (i *installation) bentoAdmin(name string) string {
	if name == partBentoPut {
		return i.addr.admin
	}
	return i.addr.sink
}

// bentoSpec is one of the two processes that do the same work as Hydrant: HTTP to JetStream, which syncs, and from there to
// S3.
func (i *installation) bentoSpec(s proc.Spec) proc.Spec {
	config := "put-jetstream"
	if s.Name == partBentoDeliver {
		config = "deliver-jetstream"
	}
	file := func(name string) string { return filepath.Join(bentoConfigs, name+".yaml") }
	s.Path = i.bento
	s.Args = []string{"-r", file("objects"), "-r", file("decode-firehose"), "-c", file(config)}
	s.Env = []string{
		"LISTEN=" + i.addr.api, "ADMIN=" + i.bentoAdmin(s.Name), "NATS_URL=nats://" + i.addr.nats,
		"SUBJECT=" + bareSubject, "STREAM=" + bareStream, "CONSUMER=" + bentoReader,
		"BUCKET=" + bucket, "S3_ENDPOINT=http://" + i.addr.s3, "OBJECT_BYTES=" + strconv.Itoa(128<<20),
		"S3_ACCESS_KEY_ID=" + s3Key, "S3_SECRET_ACCESS_KEY=" + s3Secret,
	}
	return s
}

// bentoRounds compares with Bento on the same work, in turn.
func (b *bench) bentoRounds(ctx context.Context, row *report.Row) (err error) {
	if b.bento == "" {
		row.Note("Bento's was not measured: build e2e/bench/bento, and name the program with -bento")
		return nil
	}
	k := kind128()
	hydrant, err := startProcesses(ctx, b.place("cpu-hydrant"), b.programs, partS3, partIngest, partBuffer, partSink)
	if err != nil {
		return err
	}
	defer ended(hydrant, &err)
	if err := hydrant.createStreams(ctx, k.hints, oneStream); err != nil {
		return err
	}
	bento, err := b.startBento(ctx)
	if err != nil {
		return fmt.Errorf("start Bento: %w", err)
	}
	defer ended(bento, &err)
	for round := range b.rounds {
		if err := b.bentoRound(ctx, hydrant, bento, row); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds,
			row.Last(ofBentos, "Hydrant, in turn with Bento", "Bento: two processes and NATS"))
	}
	return nil
}

func (b *bench) startBento(ctx context.Context) (*installation, error) {
	program, err := filepath.Abs(b.bento)
	if err != nil {
		return nil, err
	}
	i, err := newInstallation(b.place("cpu-bento"), b.programs)
	if err != nil {
		return nil, err
	}
	i.bento = program
	err = i.startAll(ctx, []string{partNATS, partS3})
	if err == nil {
		err = i.createForBento(ctx)
	}
	for _, part := range []string{partBentoPut, partBentoDeliver} {
		if err == nil {
			err = i.start(ctx, part)
		}
	}
	if err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// createForBento makes what Hydrant's services would make themselves.
func (i *installation) createForBento(ctx context.Context) error {
	if err := i.createBare(ctx); err != nil {
		return err
	}
	_, err := i.js.CreateConsumer(ctx, bareStream, jetstream.ConsumerConfig{
		Durable: bentoReader, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Minute, MaxAckPending: bentoPending,
	})
	if err != nil {
		return err
	}
	name := bucket
	_, err = i.s3Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	return err
}

func (b *bench) bentoRound(ctx context.Context, hydrant, bento *installation, row *report.Row) error {
	k := kind128()
	l := b.batches(hydrant)
	l.Length, l.Calls = drainTime, costBatches*k.align
	d, err := hydrant.deliverLoad(ctx, l, newBacklog(k.bound, 0), false)
	if err == nil {
		err = hydrant.empty(ctx)
	}
	if err != nil {
		return err
	}
	used, took, err := b.bentoLoad(ctx, bento, l)
	if err != nil {
		return fmt.Errorf("bento: %w", err)
	}
	perGB := func(t time.Duration) float64 { return t.Seconds() / (float64(d.put.Bytes) / 1e9) }
	ours := perGB(d.whole.sum(partIngest, partNATS, partBuffer, partSink))
	theirs := perGB(used.sum(partBentoPut, partBentoDeliver, partNATS))
	row.Figure(ofBentos, "").Add(ours / theirs)
	row.Figure("Hydrant, in turn with Bento", "s/GB").Add(ours)
	row.Figure("Bento: two processes and NATS", "s/GB").Add(theirs)
	for _, part := range []string{partBentoPut, partBentoDeliver} {
		row.Figure("  "+part, "s/GB").Add(perGB(used.sum(part)))
	}
	row.Figure("Bento, put to object", "MB/s").Add(float64(d.put.Bytes) / 1e6 / took.Seconds())
	return nil
}

// bentoLoad puts the same load on Bento, and looks at what it used when all of it is in the bucket.
func (b *bench) bentoLoad(ctx context.Context, i *installation, l load.Load) (usage, time.Duration, error) {
	l.Addr, l.Path = i.addr.api, "/put"
	before, err := i.cpu()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	put, err := l.Run(ctx)
	if err != nil {
		return nil, 0, errors.Join(err, i.alive())
	}
	found, err := i.arrived(ctx, put.Bytes)
	if err != nil {
		return nil, 0, err
	}
	took := time.Since(began)
	after, err := i.cpu()
	if err != nil {
		return nil, 0, err
	}
	if err := machine.Flush(i.dir); err != nil {
		return nil, 0, err
	}
	return after.since(before), took, errors.Join(deleteObjects(ctx, i.s3Client(), found), i.empty(ctx))
}

// arrived waits until the objects in the bucket have so many bytes.
func (i *installation) arrived(ctx context.Context, bytes int64) (found objects, err error) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	client := i.s3Client()
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		var err error
		found, err = listObjects(ctx, client)
		if err == nil {
			err = i.alive()
		}
		return found.bytes >= bytes, err
	})
	if err == nil && found.bytes != bytes {
		err = fmt.Errorf("%d bytes were acknowledged, and the objects hold %d", bytes, found.bytes)
	}
	if err != nil {
		return found, fmt.Errorf("%d of %d bytes are in objects: %w", found.bytes, bytes, err)
	}
	return found, nil
}
