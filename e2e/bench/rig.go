package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/proc"
	"hydrant/shared/names"
)

const (
	connections  = 16
	records      = 500
	recordBytes  = 1024
	messageBytes = records * recordBytes
	storeBytes   = 20 << 30
	bareStream   = "BARE"
)

// rig is a NATS server and an ingest service, and what loads them.
type rig struct {
	api   string
	js    jetstream.JetStream
	conn  *nats.Conn
	parts []*proc.Process
	body  []byte // of a PutRecordBatch call
}

func newRig(ctx context.Context, dir string, progress io.Writer) (*rig, error) {
	_, _ = fmt.Fprintln(progress, "building")
	programs, err := deploy.Build(ctx, filepath.Join(dir, "bin"), "")
	if err != nil {
		return nil, err
	}
	r := &rig{}
	if err := r.start(ctx, dir, programs); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rig) start(ctx context.Context, dir string, programs deploy.Programs) error {
	var addr [4]string
	for i := range addr {
		port, err := proc.FreePort()
		if err != nil {
			return err
		}
		addr[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	client, monitor, api, admin := addr[0], addr[1], addr[2], addr[3]
	config := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(config, deploy.NATSConfig(client, monitor, filepath.Join(dir, "nats"), storeBytes), 0o600); err != nil {
		return err
	}
	if err := r.launch(ctx, "http://"+monitor+"/healthz", proc.Spec{Name: "nats", Path: programs.Path("nats-server"), Args: []string{"-c", config}}); err != nil {
		return err
	}
	err := r.launch(ctx, "http://"+admin+"/readyz", proc.Spec{
		Name: "ingest", Path: programs.Path("hydrant-ingest"),
		Args: []string{"--listen", api, "--admin-addr", admin, "--nats-url", "nats://" + client, "--nats-monitor-url", "http://" + monitor, "--stream-share-percent", "80", "--log-level", "warn"},
	})
	if err != nil {
		return err
	}
	r.api = "http://" + api
	if r.conn, err = nats.Connect("nats://" + client); err != nil {
		return err
	}
	if r.js, err = jetstream.New(r.conn); err != nil {
		return err
	}
	if err := r.createBoth(ctx); err != nil {
		return err
	}
	r.body, err = batchBody()
	return err
}

func (r *rig) launch(ctx context.Context, ready string, spec proc.Spec) error {
	p, err := proc.Start(spec)
	if err != nil {
		return err
	}
	r.parts = append(r.parts, p)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return p.WaitReady(ctx, ready)
}

// createBoth makes a delivery stream, and a JetStream stream for the bare client.
func (r *rig) createBoth(ctx context.Context) error {
	client := firehose.New(firehose.Options{
		Region: "us-east-1", BaseEndpoint: &r.api, Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
	_, err := client.CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("bench"),
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			RoleARN: aws.String("arn:aws:iam::000000000000:role/bench"), BucketARN: aws.String("arn:aws:s3:::bench"),
		},
	})
	if err != nil {
		return err
	}
	_, err = r.js.CreateStream(ctx, jetstream.StreamConfig{Name: bareStream, Subjects: []string{"bare"}, Storage: jetstream.FileStorage})
	return err
}

// batchBody is the body of a call, made once: the load generator is to cost little.
func batchBody() ([]byte, error) {
	type data struct{ Data string }
	var call struct {
		DeliveryStreamName string
		Records            []data
	}
	call.DeliveryStreamName = "bench"
	for n := range records {
		line := fmt.Sprintf("record %d %s", n, strings.Repeat("abcdefghij", recordBytes/10))
		call.Records = append(call.Records, data{base64.StdEncoding.EncodeToString([]byte(line[:recordBytes]))})
	}
	return json.Marshal(call)
}

// putRecordBatch returns the acknowledged MB/s of one load.
func (r *rig) putRecordBatch(ctx context.Context, length time.Duration) (float64, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	rate, err := measure(ctx, length, func(ctx context.Context) error { return r.put(ctx, client) })
	return rate, errors.Join(err, r.purgeLogs(ctx))
}

func (r *rig) put(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.api, bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Target", "Firehose_20150804.PutRecordBatch")
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"FailedPutCount":0`)) {
		return fmt.Errorf("%s: %.300s", response.Status, answer)
	}
	return nil
}

// jetStreamAlone returns the acknowledged MB/s of messages of the size that a call becomes, published by a bare client.
func (r *rig) jetStreamAlone(ctx context.Context, length time.Duration) (float64, error) {
	payload := bytes.Repeat([]byte("abcdefgh"), messageBytes/8)
	rate, err := measure(ctx, length, func(ctx context.Context) error {
		_, err := r.js.Publish(ctx, "bare", payload)
		return err
	})
	stream, openErr := r.js.Stream(ctx, bareStream)
	if openErr != nil {
		return 0, errors.Join(err, openErr)
	}
	return rate, errors.Join(err, stream.Purge(ctx))
}

// measure runs call on every connection for a while, and returns the MB/s of what succeeded.
func measure(ctx context.Context, length time.Duration, call func(context.Context) error) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	failures := make([]error, connections)
	start := time.Now()
	for n := range connections {
		wg.Go(func() {
			for failures[n] == nil && time.Since(start) < length && ctx.Err() == nil {
				if failures[n] = call(ctx); failures[n] == nil {
					done.Add(messageBytes)
				}
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / 1e6 / time.Since(start).Seconds(), errors.Join(append(failures, ctx.Err())...)
}

func (r *rig) purgeLogs(ctx context.Context) error {
	for name := range r.js.StreamNames(ctx, jetstream.WithStreamListSubject(names.AllRecords)).Name() {
		stream, err := r.js.Stream(ctx, name)
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) close() {
	if r.conn != nil {
		r.conn.Close()
	}
	for _, p := range r.parts {
		p.Kill()
	}
}
