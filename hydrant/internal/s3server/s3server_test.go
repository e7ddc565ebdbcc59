package s3server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
	"go.uber.org/goleak"

	"hydrant/shared/logtest"
)

const (
	accessKey = "local"
	secretKey = "localsecret"
	bucket    = "records"
)

// Arguments that turn the test binary into something else.
const (
	argParent = "parent"      // a supervisor of an S3 server on the address and directory that follow
	argDeaf   = "deaf-server" // a server that does not listen and ignores SIGTERM
	argBroken = "broken"      // a server that dies at once, with the reason that follows
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if run, ok := otherMains()[os.Args[1]]; ok {
			os.Exit(run(os.Args[2:])) //nolint:forbidigo // TestMain is the main of this process.
		}
	}
	goleak.VerifyTestMain(m)
}

func otherMains() map[string]func(args []string) int {
	return map[string]func([]string) int{ChildArg: child, argParent: parent, argDeaf: deaf, argBroken: broken}
}

// child is what the program does for ChildArg.
func child([]string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Serve(ctx, ChildConfig(os.Getenv, os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func parent(args []string) int {
	s, err := New(SupervisorConfig{Addr: args[0], Dir: args[1], AccessKey: accessKey, SecretKey: secretKey})
	if err == nil {
		err = s.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func deaf([]string) int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "deaf")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func broken(args []string) int {
	fmt.Fprintln(os.Stderr, args[0])
	return 1
}

func testConfig(t *testing.T) SupervisorConfig {
	t.Helper()
	return SupervisorConfig{
		Addr: freeAddr(t), Dir: t.TempDir(), AccessKey: accessKey, SecretKey: secretKey,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run runs a supervisor until the test ends or the returned function is called, which gives what Run returned.
func run(t *testing.T, cfg SupervisorConfig) (*Supervisor, func() error) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

// serve is run, and waits until the server is ready.
func serve(t *testing.T, cfg SupervisorConfig) (*Supervisor, func() error) {
	t.Helper()
	s, stop := run(t, cfg)
	ready(t, s)
	return s, stop
}

func ready(t *testing.T, s *Supervisor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// poll asks until the answer is yes.
func poll(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !yes() {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain: %s", what)
		}
		sleep(ctx, pollWait)
	}
}

// client is an S3 client of the kind that the sinks use.
func client(t *testing.T, url string) *s3.Client {
	return clientWith(t, url, secretKey)
}

// clientWith is a client of its own for a secret, since a client goes on signing with the first one it was given.
func clientWith(t *testing.T, url, secret string) *s3.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(url),
		Region:       DefaultRegion,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secret, ""),
		HTTPClient:   &http.Client{Transport: transport},
		UsePathStyle: true,
	})
}

func makeBucket(t *testing.T, c *s3.Client) {
	t.Helper()
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, c *s3.Client, key, body string, opts ...func(*s3.Options)) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(body),
		IfNoneMatch: aws.String("*"), Metadata: map[string]string{"hydrant-batch": key},
	}, opts...)
	return err
}

func mustPut(t *testing.T, c *s3.Client, key, body string) {
	t.Helper()
	if err := put(t.Context(), c, key, body); err != nil {
		t.Fatal(err)
	}
}

// checkObject reads an object of put back, with its metadata.
func checkObject(t *testing.T, c *s3.Client, key, body string) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != body {
		t.Errorf("%s holds %.100q, want %.100q", key, got, body)
	}
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	if head.Metadata["hydrant-batch"] != key || aws.ToInt64(head.ContentLength) != int64(len(body)) {
		t.Errorf("HEAD of %s says %v and %d bytes, want batch %s and %d", key, head.Metadata, aws.ToInt64(head.ContentLength), key, len(body))
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error is %v, want %s", err, code)
	}
}

// The operations that the sinks need, on both ways to keep metadata.
func TestOperations(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		sidecar bool
	}{
		{"attributes", requireAttributes, false},
		{"sidecar", makeSidecar, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t)
			tc.prepare(t, cfg.Dir)
			s, _ := serve(t, cfg)
			c := client(t, s.URL())
			makeBucket(t, c)
			t.Run("put once", func(t *testing.T) { testPutOnce(t, c) })
			t.Run("large put once", func(t *testing.T) { testLargePutOnce(t, c) })
			t.Run("put at the same time", func(t *testing.T) { testPutRace(t, c) })
			t.Run("multipart once", func(t *testing.T) { testMultipartOnce(t, c) })
			t.Run("list", func(t *testing.T) { testList(t, c) })
			t.Run("range", func(t *testing.T) { testRange(t, c) })
			t.Run("copy and delete", func(t *testing.T) { testCopyAndDelete(t, c) })
			_, err := os.Stat(filepath.Join(cfg.Dir, "metadata"))
			if got := err == nil; got != tc.sidecar {
				t.Errorf("metadata in files of its own: %v, want %v", got, tc.sidecar)
			}
		})
	}
}

// requireAttributes skips a test that shows nothing on a file system without extended attributes.
func requireAttributes(t *testing.T, dir string) {
	if err := probeAttributes(dir); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no extended attributes in %s, which CI has to have: %v", dir, err)
		}
		t.Skipf("no extended attributes in %s: %v", dir, err)
	}
}

// makeSidecar leaves what a start on a file system without extended attributes would have.
func makeSidecar(t *testing.T, dir string) {
	if err := os.Mkdir(filepath.Join(dir, "metadata"), 0o750); err != nil {
		t.Fatal(err)
	}
}

func testPutOnce(t *testing.T, c *s3.Client) {
	mustPut(t, c, "once", "first")
	wantCode(t, put(t.Context(), c, "once", "second"), "PreconditionFailed")
	checkObject(t, c, "once", "first")
}

// The refusal reaches a client that is still sending, at the first attempt: without it a sink would not learn that its batch
// is delivered.
func testLargePutOnce(t *testing.T, c *s3.Client) {
	body := strings.Repeat("x", 32<<20)
	mustPut(t, c, "large", body)
	for range 5 {
		wantCode(t, put(t.Context(), c, "large", body, once), "PreconditionFailed")
	}
	checkObject(t, c, "large", body)
}

func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// Of several workers that deliver the same batch, one writes it.
func testPutRace(t *testing.T, c *s3.Client) {
	const workers = 8
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { errs[i] = put(t.Context(), c, "raced", strings.Repeat("x", 1<<20), once) })
	}
	wg.Wait()
	written := 0
	for _, err := range errs {
		if err == nil {
			written++
			continue
		}
		wantCode(t, err, "PreconditionFailed")
	}
	if written != 1 {
		t.Errorf("%d of %d puts were accepted, want 1", written, workers)
	}
	checkObject(t, c, "raced", strings.Repeat("x", 1<<20))
}

func testMultipartOnce(t *testing.T, c *s3.Client) {
	parts := []string{strings.Repeat("a", 5<<20), strings.Repeat("b", 1<<20)}
	if err := putParts(t, c, "parts", parts); err != nil {
		t.Fatal(err)
	}
	wantCode(t, putParts(t, c, "parts", []string{"other"}), "PreconditionFailed")
	checkObject(t, c, "parts", strings.Join(parts, ""))
}

// putParts uploads an object in parts, and completes it on the condition that it is not there.
func putParts(t *testing.T, c *s3.Client, key string, parts []string) error {
	t.Helper()
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Metadata: map[string]string{"hydrant-batch": key},
	})
	if err != nil {
		t.Fatal(err)
	}
	var done []types.CompletedPart
	for i, part := range parts {
		number := aws.Int32(int32(i + 1))
		out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: aws.String(bucket), Key: aws.String(key), UploadId: up.UploadId, PartNumber: number, Body: strings.NewReader(part),
		})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC32: out.ChecksumCRC32})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(bucket), Key: aws.String(key), UploadId: up.UploadId, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	return err
}

func testList(t *testing.T, c *s3.Client) {
	for i := range 5 {
		mustPut(t, c, fmt.Sprintf("2026/11/%02d/object", i), "x")
	}
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{
		Bucket: aws.String(bucket), Prefix: aws.String("2026/11/"), MaxKeys: aws.Int32(2),
	})
	var keys []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	if len(keys) != 5 || keys[0] != "2026/11/00/object" || keys[4] != "2026/11/04/object" {
		t.Errorf("listed %v", keys)
	}
}

func testRange(t *testing.T, c *s3.Client) {
	mustPut(t, c, "range", "0123456789")
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("range"), Range: aws.String("bytes=2-4"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != "234" {
		t.Errorf("read %q, %v", got, err)
	}
}

func testCopyAndDelete(t *testing.T, c *s3.Client) {
	mustPut(t, c, "from", "copied")
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("to"), CopySource: aws.String(bucket + "/from"),
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"hydrant-batch": "to"},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkObject(t, c, "to", "copied")
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("to")}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("to")})
	wantCode(t, err, "NoSuchKey")
}

// A forged put is refused in a way that its client understands, and leaves nothing behind.
func TestWrongSecret(t *testing.T) {
	s, _ := serve(t, testConfig(t))
	c := client(t, s.URL())
	makeBucket(t, c)
	forger := clientWith(t, s.URL(), "wrong")
	for _, size := range []int{1, 32 << 20} {
		wantCode(t, put(t.Context(), forger, "forged", strings.Repeat("x", size), once), "SignatureDoesNotMatch")
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("forged")})
	wantCode(t, err, "NoSuchKey")
}

func TestRestartKeepsObjects(t *testing.T) {
	cfg := testConfig(t)
	s, stop := serve(t, cfg)
	c := client(t, s.URL())
	makeBucket(t, c)
	mustPut(t, c, "kept", "bytes")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", cfg.Addr); err != nil {
		t.Errorf("the port is not free after Run: %v", err)
	} else {
		l.Close()
	}

	serve(t, cfg)
	checkObject(t, c, "kept", "bytes")
	wantCode(t, put(t.Context(), c, "kept", "other"), "PreconditionFailed")
}

func TestKilledChildComesBack(t *testing.T) {
	s, _ := serve(t, testConfig(t))
	c := client(t, s.URL())
	makeBucket(t, c)
	for i := range 3 {
		key := fmt.Sprintf("before-kill-%d", i)
		mustPut(t, c, key, "bytes")
		pid, _ := s.state()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		poll(t, "another child", func() bool {
			now, _ := s.state()
			return now != 0 && now != pid
		})
		ready(t, s)
		checkObject(t, c, key, "bytes")
	}
}

// A connection on which nothing is asked does not keep the server from ending.
func TestStopWithIdleConnection(t *testing.T) {
	var log logtest.Lines
	cfg := testConfig(t)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, stop := serve(t, cfg)
	conn, err := net.Dial("tcp", cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "killed") {
		t.Errorf("the server had to be killed:\n%s", log.String())
	}
}

func TestDeafChildIsKilled(t *testing.T) {
	var log logtest.Lines
	cfg := testConfig(t)
	cfg.Command = []string{os.Args[0], argDeaf}
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, stop := run(t, cfg)
	poll(t, "the child ignores SIGTERM", func() bool { return strings.Contains(log.String(), "deaf") })
	before := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took < stopWait || took > 2*stopWait {
		t.Errorf("it took %v to stop, want about %v", took, stopWait)
	}
	if !strings.Contains(log.String(), "was killed") {
		t.Errorf("the log does not say that the child was killed:\n%s", log.String())
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t)
	cfg.Addr = taken.Addr().String()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Run": s.Run(t.Context()), "Ready": s.Ready(t.Context())} {
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), cfg.Addr) {
			t.Errorf("%s: error is %v, want one that names %s", what, err, cfg.Addr)
		}
	}
}

// A port that is given up soon after the start is not an error: it is the last child of a parent that was killed.
func TestPortFreedInTime(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Addr = taken.Addr().String()
	timer := time.AfterFunc(portWait/10, func() { taken.Close() })
	defer timer.Stop()
	serve(t, cfg)
}

func TestReadySaysWhyTheChildDies(t *testing.T) {
	cfg := testConfig(t)
	cfg.Command = []string{os.Args[0], argBroken, "no such luck"}
	s, _ := run(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	poll(t, "the child dies", func() bool {
		_, last := s.state()
		return last != nil
	})
	// Between two children.
	poll(t, "an error with the reason", func() bool {
		short, cancel := context.WithTimeout(ctx, pollWait)
		defer cancel()
		err := s.Ready(short)
		return err != nil && strings.Contains(err.Error(), "no such luck")
	})
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	cfg := testConfig(t)
	cfg.Command = []string{filepath.Join(t.TempDir(), "nothing")}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

// A directory that cannot be used is the child's error, and its last words reach whoever waits.
func TestUnusableDirectory(t *testing.T) {
	cfg := testConfig(t)
	cfg.Dir = filepath.Join(cfg.Dir, "file")
	if err := os.WriteFile(cfg.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := run(t, cfg)
	poll(t, "the child's error", func() bool {
		_, last := s.state()
		return last != nil && strings.Contains(last.Error(), cfg.Dir)
	})
}

func TestReadyAfterStop(t *testing.T) {
	s, stop := serve(t, testConfig(t))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("error is %v", err)
	}
}

// The child ends when standard input does.
func TestChildEndsWithStdin(t *testing.T) {
	cfg := testConfig(t)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], ChildArg)
	cmd.Env = s.env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the child answers", func() bool { return s.ask(t.Context()) == nil })
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}

// The child ends when the process that supervises it is killed, which leaves nobody to tell it to.
func TestChildEndsWithKilledParent(t *testing.T) {
	cfg := testConfig(t)
	cmd := exec.Command(os.Args[0], argParent, cfg.Addr, cfg.Dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the server answers", func() bool { return s.ask(t.Context()) == nil })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	// The next program takes over the port and the objects right away.
	serve(t, cfg)
}

// The secret is in no argument of the child.
func TestSecretIsNotAnArgument(t *testing.T) {
	s, _ := serve(t, testConfig(t))
	pid, _ := s.state()
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Skip("no /proc")
	}
	if bytes.Contains(argv, []byte(secretKey)) {
		t.Errorf("the arguments are %q", argv)
	}
}

// Ctrl-C in a terminal goes to a whole process group. The child must not end before those in the parent who still write to it.
func TestProcessGroup(t *testing.T) {
	s, _ := serve(t, testConfig(t))
	pid, _ := s.state()
	group, err := syscall.Getpgid(pid)
	if err != nil {
		t.Fatal(err)
	}
	if group != pid {
		t.Errorf("the child %d is in the process group %d", pid, group)
	}
}

func TestOutput(t *testing.T) {
	for _, tc := range []struct {
		name  string
		level slog.Level
		quiet bool
	}{
		{"info", slog.LevelInfo, true},
		{"debug", slog.LevelDebug, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log logtest.Lines
			cfg := testConfig(t)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: tc.level}))
			s, stop := serve(t, cfg)
			makeBucket(t, client(t, s.URL()))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if got := !strings.Contains(log.String(), "S3 server says"); got != tc.quiet {
				t.Errorf("quiet: %v, want %v:\n%s", got, tc.quiet, log.String())
			}
			if strings.Contains(log.String(), secretKey) {
				t.Errorf("the log has the secret:\n%s", log.String())
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*SupervisorConfig)
		want string
	}{
		{"no address", func(c *SupervisorConfig) { c.Addr = "" }, `""`},
		{"no port", func(c *SupervisorConfig) { c.Addr = "localhost" }, `"localhost"`},
		{"any port", func(c *SupervisorConfig) { c.Addr = "localhost:0" }, "1 to 65535"},
		{"socket file", func(c *SupervisorConfig) { c.Addr = "/run/s3.sock" }, "host:port"},
		{"no directory", func(c *SupervisorConfig) { c.Dir = "" }, "directory"},
		{"no access key", func(c *SupervisorConfig) { c.AccessKey = "" }, "access key"},
		{"no secret key", func(c *SupervisorConfig) { c.SecretKey = "" }, "secret key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t)
			tc.set(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: error is %v, want one with %s", err, tc.want)
			}
			// None of these gets as far as changing the working directory.
			served := Serve(t.Context(), ServeConfig{Addr: cfg.Addr, Dir: cfg.Dir, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey})
			if served == nil || !strings.Contains(served.Error(), tc.want) {
				t.Errorf("Serve: error is %v, want one with %s", served, tc.want)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name  string
		lived []time.Duration
		want  []time.Duration
	}{
		{"doubles up to the limit", make([]time.Duration, 8), []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms}},
		{"starts over after a long life", []time.Duration{0, 0, settled, 0}, []time.Duration{100 * ms, 200 * ms, 100 * ms, 200 * ms}},
		{"a life just too short", []time.Duration{0, settled - 1}, []time.Duration{100 * ms, 200 * ms}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b backoff
			for i, lived := range tc.lived {
				if got := b.next(lived); got != tc.want[i] {
					t.Errorf("wait %d is %v, want %v", i, got, tc.want[i])
				}
			}
		})
	}
}

func TestLineLogger(t *testing.T) {
	for _, tc := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines", []string{"one\ntwo\n"}, []string{"one", "two"}},
		{"in pieces", []string{"on", "e\ntw", "o"}, []string{"one", "two"}},
		{"blank lines", []string{"\n\n  \none\n"}, []string{"one"}},
		{"colours", []string{"\x1b[31m[INTERNAL ERROR]: \x1b[0mno space\x1b[0m\n"}, []string{"[INTERNAL ERROR]: no space"}},
		{"no end", []string{strings.Repeat("x", maxLine), "y\n"}, []string{strings.Repeat("x", maxLine), "y"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			l := &lineLogger{log: func(_ string, args ...any) { got = append(got, args[1].(string)) }}
			for _, w := range tc.writes {
				if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatalf("wrote %d of %d: %v", n, len(w), err)
				}
			}
			l.flush()
			if strings.Join(got, "|") != strings.Join(tc.want, "|") {
				t.Errorf("logged %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDialAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9000": "127.0.0.1:9000",
		"localhost:9000": "localhost:9000",
		":9000":          "127.0.0.1:9000",
		"0.0.0.0:9000":   "127.0.0.1:9000",
		"[::]:9000":      "[::1]:9000",
		"10.1.2.3:9000":  "10.1.2.3:9000",
	} {
		if got := dialAddr(addr); got != want {
			t.Errorf("dialAddr(%q) is %q, want %q", addr, got, want)
		}
	}
}
