package faultproxy_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"hydrant/e2e/internal/faultproxy"
)

const (
	bucket = "bucket"
	// putKey is a PUT of bucket/key below HTTP.
	putKey = "PUT /bucket/key HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
)

// store is an S3 server in memory behind a proxy, with a client that goes through the proxy and tries once.
type store struct {
	proxy  *faultproxy.S3
	client *s3.Client
	// direct goes to the server itself.
	direct *s3.Client
}

func newStore(t *testing.T, settings faultproxy.S3Settings) store {
	t.Helper()
	// With signatures checked, a request that the proxy changed would be refused.
	server := gofakes3.New(s3mem.New(), gofakes3.WithV4Auth(map[string]string{"local": "localsecret"})).Server()
	address := newBackend(t, server)
	p := newS3(t, address)
	s := store{proxy: p, client: newS3Client(t, p.URL()), direct: newS3Client(t, "http://"+address)}
	if _, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(settings); err != nil {
		t.Fatal(err)
	}
	return s
}

func newS3Client(t *testing.T, endpoint string) *s3.Client {
	t.Helper()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       "us-east-1",
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
		HTTPClient:   newClient(t),
		Retryer:      aws.NopRetryer{},
	})
}

func (s store) put(ctx context.Context, key string) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("body"),
	})
	return err
}

func (s store) awaitHeld(t *testing.T) {
	t.Helper()
	eventually(t, "the request is held", func() bool {
		return s.proxy.Counts()[faultproxy.HeldAnswer]+s.proxy.Counts()[faultproxy.BlackHole] == 1
	})
}

// holds tells whether the object is in the store.
func (s store) holds(t *testing.T, key string) bool {
	t.Helper()
	_, err := s.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	var missing *types.NotFound
	if err != nil && !errors.As(err, &missing) {
		t.Fatal(err)
	}
	return err == nil
}

func TestS3Faults(t *testing.T) {
	for _, test := range []struct {
		fault    faultproxy.Fault
		settings faultproxy.S3Settings
		// code is the API error that the client gets; without one its connection breaks.
		code   string
		stored bool
	}{
		{faultproxy.InternalError, faultproxy.S3Settings{InternalError: 1}, "InternalError", false},
		{faultproxy.SlowDown, faultproxy.S3Settings{SlowDown: 1}, "SlowDown", false},
		{faultproxy.ResetBefore, faultproxy.S3Settings{ResetBefore: 1}, "", false},
		{faultproxy.ResetAfter, faultproxy.S3Settings{ResetAfter: 1}, "", true},
		{faultproxy.HeldAnswer, faultproxy.S3Settings{HeldAnswer: 1, MaxHold: time.Millisecond}, "", true},
		{faultproxy.BlackHole, faultproxy.S3Settings{BlackHole: 1, MaxHold: time.Millisecond}, "", false},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			s := newStore(t, test.settings)
			err := s.put(t.Context(), "key")
			var answered smithy.APIError
			if errors.As(err, &answered) != (test.code != "") || err == nil {
				t.Errorf("got %v", err)
			}
			if answered != nil && answered.ErrorCode() != test.code {
				t.Errorf("got %s, want %s", answered.ErrorCode(), test.code)
			}
			if got := s.holds(t, "key"); got != test.stored {
				t.Errorf("stored: %v, want %v", got, test.stored)
			}
			if got := s.proxy.Counts(); got[test.fault] != 1 {
				t.Errorf("counted %v", got)
			}
			s.proxy.SetAll(false)
			if err := s.put(t.Context(), "key"); err != nil {
				t.Errorf("with the faults off: %v", err)
			}
		})
	}
}

func TestS3Resets(t *testing.T) {
	for name, settings := range map[string]faultproxy.S3Settings{"before": {ResetBefore: 1}, "after": {ResetAfter: 1}} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, settings)
			if answer, err := exchange(t, s.proxy, putKey); answer != "" || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %q, %v; want a reset", answer, err)
			}
		})
	}
}

// A client that is still sending a large body gets the error, and not a broken connection.
func TestS3ErrorAfterALargeBody(t *testing.T) {
	s := newStore(t, faultproxy.S3Settings{SlowDown: 1})
	_, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("key"), Body: bytes.NewReader(make([]byte, 16<<20)),
	})
	var answered smithy.APIError
	if !errors.As(err, &answered) || answered.ErrorCode() != "SlowDown" {
		t.Errorf("got %v", err)
	}
}

// What is held is let go when the client gives up, and the upload has succeeded.
func TestS3HoldsUntilTheClientGivesUp(t *testing.T) {
	for name, settings := range map[string]faultproxy.S3Settings{"answer": {HeldAnswer: 1}, "request": {BlackHole: 1}} {
		t.Run(name, func(t *testing.T) {
			settings.MaxHold = time.Hour
			s := newStore(t, settings)
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			failed := make(chan error, 1)
			go func() { failed <- s.put(ctx, "key") }()
			s.awaitHeld(t)
			giveUp()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if got := s.holds(t, "key"); got != (name == "answer") {
				t.Errorf("stored: %v", got)
			}
		})
	}
}

// SetAll(false) lets go of what is held, so that a drain need not wait.
func TestS3SwitchingOffReleases(t *testing.T) {
	for name, settings := range map[string]faultproxy.S3Settings{"answer": {HeldAnswer: 1}, "request": {BlackHole: 1}} {
		t.Run(name, func(t *testing.T) {
			settings.MaxHold = time.Hour
			s := newStore(t, settings)
			failed := make(chan error, 1)
			go func() { failed <- s.put(t.Context(), "key") }()
			s.awaitHeld(t)
			s.proxy.SetAll(false)
			if err := <-failed; err == nil {
				t.Error("no error")
			}
			s.proxy.SetAll(true)
			s.proxy.SetAll(true)
			s.proxy.SetAll(false)
		})
	}
}

// Close does not wait for what is held.
func TestS3CloseReleases(t *testing.T) {
	s := newStore(t, faultproxy.S3Settings{BlackHole: 1, MaxHold: time.Hour})
	failed := make(chan error, 1)
	go func() { failed <- s.put(t.Context(), "key") }()
	s.awaitHeld(t)
	s.proxy.Close()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
}

func TestS3StoreLost(t *testing.T) {
	p := newS3(t, deadBackend(t))
	if answer, err := exchange(t, p, putKey); answer != "" || err != nil {
		t.Errorf("got %q, %v; want a closed connection", answer, err)
	}
	if p.Counts()[faultproxy.StoreLost] != 1 {
		t.Errorf("counted %v", p.Counts())
	}
}

// A client killed by the hook before the request is forwarded has its upload completed all the same.
func TestS3CarriesOutWhatADeadClientSent(t *testing.T) {
	s := newStore(t, faultproxy.S3Settings{})
	upload := s.begin(t, "key")
	ctx, kill := context.WithCancel(t.Context())
	s.proxy.OnRequest(func(phase faultproxy.Phase, kind faultproxy.Kind, _ string) {
		if phase == faultproxy.BeforeForward && kind == faultproxy.CompleteMultipart {
			kill()
		}
	})
	if err := upload.complete(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the upload is complete", func() bool { return s.holds(t, "key") })
}

// multipart is an upload of one part that is not complete.
type multipart struct {
	client *s3.Client
	key    string
	id     *string
	etag   *string
}

func (s store) begin(t *testing.T, key string) multipart {
	t.Helper()
	created, err := s.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: aws.String(bucket), Key: &key,
	})
	if err != nil {
		t.Fatal(err)
	}
	part, err := s.client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(bucket), Key: &key, UploadId: created.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader(make([]byte, 6<<20)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return multipart{client: s.client, key: key, id: created.UploadId, etag: part.ETag}
}

func (m multipart) complete(ctx context.Context) error {
	_, err := m.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(bucket), Key: &m.key, UploadId: m.id,
		MultipartUpload: &types.CompletedMultipartUpload{
			Parts: []types.CompletedPart{{ETag: m.etag, PartNumber: aws.Int32(1)}},
		},
	})
	return err
}

func (m multipart) abort(ctx context.Context) error {
	_, err := m.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: aws.String(bucket), Key: &m.key, UploadId: m.id,
	})
	return err
}

// The hook sees what the SDK sends, each request at both phases, and knows it for what it is.
func TestS3Hook(t *testing.T) {
	s := newStore(t, faultproxy.S3Settings{})
	var mu sync.Mutex
	var seen []string
	s.proxy.OnRequest(func(phase faultproxy.Phase, kind faultproxy.Kind, _ string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(phase)+" "+string(kind))
	})
	if err := s.put(t.Context(), "a/plain+key é"); err != nil {
		t.Fatal(err)
	}
	if err := s.begin(t, "a/large key").complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.begin(t, "given up").abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("a/large key")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, kind := range []faultproxy.Kind{
		faultproxy.PutObject,
		faultproxy.CreateMultipart, faultproxy.UploadPart, faultproxy.CompleteMultipart,
		faultproxy.CreateMultipart, faultproxy.UploadPart, faultproxy.AbortMultipart,
		faultproxy.Head, faultproxy.Other,
	} {
		want = append(want, string(faultproxy.BeforeForward)+" "+string(kind), string(faultproxy.BeforeAnswer)+" "+string(kind))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, want) {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
}

// In the second phase the object is there and the client has not heard of it.
func TestS3HookBeforeAnswer(t *testing.T) {
	s := newStore(t, faultproxy.S3Settings{})
	stored := make(map[faultproxy.Phase]bool)
	s.proxy.OnRequest(func(phase faultproxy.Phase, _ faultproxy.Kind, _ string) {
		stored[phase] = s.holds(t, "key")
	})
	if err := s.put(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if stored[faultproxy.BeforeForward] || !stored[faultproxy.BeforeAnswer] {
		t.Errorf("stored at each phase: %v", stored)
	}
	s.proxy.OnRequest(nil)
	if err := s.put(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if len(stored) != 2 {
		t.Error("the hook is still called")
	}
}

func TestKindOf(t *testing.T) {
	for _, test := range []struct {
		method, target string
		want           faultproxy.Kind
	}{
		{"PUT", "/bucket", faultproxy.Other},
		{"PUT", "/bucket/", faultproxy.Other},
		{"PUT", "/bucket/key?x-id=PutObject", faultproxy.PutObject},
		{"PUT", "/bucket/key?tagging", faultproxy.Other},
		{"PUT", "/bucket/key?partNumber=1&uploadId=a", faultproxy.UploadPart},
		{"POST", "/bucket/key?uploads=", faultproxy.CreateMultipart},
		{"POST", "/bucket/key?uploadId=a", faultproxy.CompleteMultipart},
		{"POST", "/bucket?delete", faultproxy.Other},
		{"DELETE", "/bucket/key?uploadId=a", faultproxy.AbortMultipart},
		{"DELETE", "/bucket/key", faultproxy.Other},
		{"HEAD", "/bucket/key", faultproxy.Head},
		{"HEAD", "/bucket", faultproxy.Other},
		{"GET", "/bucket/key", faultproxy.Other},
		{"GET", "/", faultproxy.Other},
	} {
		r, err := http.NewRequest(test.method, "http://s3"+test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := faultproxy.KindOf(r); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.method, test.target, got, test.want)
		}
	}
}

// Over many requests each fault comes about as often as it should.
func TestS3Shares(t *testing.T) {
	p := newS3(t, newBackend(t, named("ok")))
	settings := faultproxy.S3Settings{InternalError: 0.1, SlowDown: 0.2, ResetBefore: 0.1, ResetAfter: 0.1}
	if err := p.Set(settings); err != nil {
		t.Fatal(err)
	}
	const n = 600
	for range n {
		// What the client sees is tested above; here the proxy's own counts are.
		_, _ = exchange(t, p, putKey)
	}
	want := map[faultproxy.Fault]float64{
		faultproxy.InternalError: 0.1, faultproxy.SlowDown: 0.2, faultproxy.ResetBefore: 0.1,
		faultproxy.ResetAfter: 0.1, faultproxy.Forwarded: 0.5,
	}
	for fault, rate := range want {
		if got := float64(p.Counts()[fault]) / n; got < rate-0.06 || got > rate+0.06 {
			t.Errorf("%s: a share of %.3f, want %.3f (%s)", fault, got, rate, p.Counts())
		}
	}
}

func TestS3SettingsValidate(t *testing.T) {
	for name, bad := range map[string]faultproxy.S3Settings{
		"negative":  {SlowDown: -0.1},
		"above one": {BlackHole: 1.1},
		"together":  {SlowDown: 0.6, BlackHole: 0.6},
		"hold":      {MaxHold: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if newS3(t, "").Set(bad) == nil {
				t.Error("no error")
			}
		})
	}
}
