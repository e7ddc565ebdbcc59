// Package s3server is the S3 server of the all-in-one program: versitygw over a directory, as a child process of the same
// binary, and the supervisor that keeps the child running.
//
// # Why a child process
//
// versitygw's posix backend changes the working directory of its process and finds objects relative to it. So there can be
// one in a process, and none in a process that does anything else with relative paths.
//
// # What is guaranteed
//
//   - An object is there whole or not at all under its name, also when the server is killed in the middle of a put.
//   - What was acknowledged survives the death of the server's process, and of the program: it is in the kernel by then.
//   - Conditions (If-None-Match: *) hold on PutObject and CompleteMultipartUpload, between requests at the same time too.
//   - The child ends when its parent does, however the parent ended: see ServeConfig.Parent.
//
// # What is not
//
// versitygw does not call fsync. An object that was acknowledged reaches the disk when the kernel writes it back, up to
// about half a minute later. If the machine loses power or the kernel panics before that, the object can be missing or, on
// some file systems, be there with no or with wrong bytes, although the delivery stream counts it as delivered. The
// records themselves are in JetStream, synced, for as long as the replay window reaches, and can be delivered again from
// there. For objects that must survive a power cut by themselves, deliver to an S3 store that syncs.
//
// ETags are not MD5 sums, as they are not in S3 for objects in parts or encrypted with a KMS key: a client that checks
// what it sent by MD5 passes over them.
//
// Objects are files, so a key p/q cannot be beside a key p/q/r: the second put is answered with 409. Server-side encryption
// headers are accepted and ignored.
package s3server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	// DefaultRegion is the region that requests are to be signed for unless another is configured.
	DefaultRegion = "us-east-1"

	// maxCopyBytes is S3's own limit for CopyObject. The backend takes 0 for "refuse every copy".
	maxCopyBytes = 5 << 30
	// maxParts is S3's own limit for a multipart upload.
	maxParts = 10_000
	// maxRequests are served at a time, on twice as many connections; the next is answered with SlowDown.
	maxRequests = 4096
)

// ServeConfig is what the child process serves.
type ServeConfig struct {
	// Addr is the host:port to listen on.
	Addr string
	// Dir is where everything is kept. It is made if it is missing. Buckets are the directories in Dir/buckets, objects the
	// files below them. Dir/metadata exists only where the file system has no user extended attributes.
	Dir string
	// AccessKey and SecretKey are those of the only user there is, who may do everything.
	AccessKey, SecretKey string
	// Region is the one that requests are signed for; DefaultRegion if empty.
	Region string
	// Debug lets versitygw print its banner and a line a request.
	Debug bool
	// Parent ends when the parent process does: the read end of a pipe whose only write end the parent holds and never writes
	// to, in practice standard input. Serve stops at its end of file. A signal at the parent's death (PR_SET_PDEATHSIG) would
	// be bound to the thread that forked, which the Go runtime may end at any time, and there is none outside Linux; the
	// kernel closes a pipe when the process is gone, whatever killed it. nil means that there is no parent to watch.
	Parent io.Reader
}

// Serve runs the S3 server until ctx is cancelled or the parent is gone, lets the requests in progress end, for 4 seconds at
// most, and returns nil. It returns an error when it cannot listen or cannot use the directory.
//
// It changes the working directory of the process and is to be called once in a process that does nothing else and ends
// after it: what reads Parent, and what versitygw keeps for connections on which nothing is asked, ends with the process.
func Serve(ctx context.Context, cfg ServeConfig) error {
	if err := checkAddr(cfg.Addr); err != nil {
		return err
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return errors.New("the S3 server needs an access key and a secret key")
	}
	be, err := newBackend(cfg.Dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if cfg.Parent != nil {
		go func() {
			_, _ = io.Copy(io.Discard, cfg.Parent)
			cancel()
		}()
	}
	var reqs requests
	served := make(chan error, 1)
	go func() { served <- embedgw.RunVersityGW(ctx, be, gateway(cfg, &reqs)) }()
	select {
	case <-ctx.Done():
		err = reqs.drain(served)
	case err = <-served:
	}
	if err != nil {
		return fmt.Errorf("serve S3 on %s: %w", cfg.Addr, err)
	}
	return nil
}

// gateway configures versitygw. No IAM service is named in it, so the root user is the only one.
func gateway(cfg ServeConfig, reqs *requests) *embedgw.Config {
	region := cfg.Region
	if region == "" {
		region = DefaultRegion
	}
	return &embedgw.Config{
		RootUserAccess:    cfg.AccessKey,
		RootUserSecret:    cfg.SecretKey,
		Region:            region,
		Ports:             []string{cfg.Addr},
		MaxConnections:    2 * maxRequests,
		MaxRequests:       maxRequests,
		MultipartMaxParts: maxParts,
		Quiet:             !cfg.Debug,
		S3Options:         []s3api.Option{s3api.WithMiddleware("/", reqs.handle)},
	}
}

// newBackend opens the directory, making it if need be, and changes into it.
func newBackend(dir string) (*posix.Posix, error) {
	if dir == "" {
		return nil, errors.New("the S3 server needs a directory")
	}
	// Absolute before the backend changes the working directory under a relative one.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the S3 directory: %w", err)
	}
	buckets, sidecar := filepath.Join(dir, "buckets"), filepath.Join(dir, "metadata")
	if err := os.MkdirAll(buckets, 0o750); err != nil {
		return nil, fmt.Errorf("make the S3 directory: %w", err)
	}
	store, opts, err := metadata(buckets, sidecar)
	if err != nil {
		return nil, err
	}
	opts.CopyObjectThreshold = maxCopyBytes
	// An MD5 of every object costs more than everything else that is done for it. Without, the ETag is made of the checksum
	// that came with the object, or of CRC-64, and objects keep the ETag that they were given.
	opts.DataIntegrityEtag = true
	be, err := posix.New(buckets, store, opts)
	if err != nil {
		return nil, fmt.Errorf("open the S3 directory: %w", err)
	}
	return be, nil
}

// metadata chooses where the objects' metadata goes: beside the data in extended attributes, or into files of its own where
// the file system has none. A directory that began with files stays with them, since the objects in it have nothing else.
func metadata(buckets, sidecar string) (meta.MetadataStorer, posix.PosixOpts, error) {
	_, err := os.Stat(sidecar)
	if errors.Is(err, os.ErrNotExist) && probeAttributes(buckets) == nil {
		return meta.XattrMeta{}, posix.PosixOpts{}, nil
	}
	if err := os.MkdirAll(sidecar, 0o750); err != nil {
		return nil, posix.PosixOpts{}, fmt.Errorf("make the S3 metadata directory: %w", err)
	}
	store, err := meta.NewSideCar(sidecar)
	if err != nil {
		return nil, posix.PosixOpts{}, fmt.Errorf("open the S3 metadata directory: %w", err)
	}
	return store, posix.PosixOpts{SideCarDir: sidecar}, nil
}

// probeAttributes writes an attribute the way the backend will. Reading one, which is all that versitygw tries, succeeds on
// file systems that refuse to write it.
func probeAttributes(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	return meta.XattrMeta{}.StoreAttribute(f, "", "", "hydrant-probe", []byte("1"))
}

// checkAddr accepts host:port with a port other than 0: versitygw would take anything else for a socket file, and nobody
// would learn which port it got.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("S3 address %q: accepted is host:port: %w", addr, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("S3 address %q: accepted is a port from 1 to 65535", addr)
	}
	return nil
}
