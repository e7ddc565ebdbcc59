package s3server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// askWait bounds one question whether the server is ready, so that an address that swallows it is asked again.
const askWait = time.Second

// URL is the endpoint for S3 clients on this machine, which are to use path-style addressing.
func (s *Supervisor) URL() string { return "http://" + dialAddr(s.serve.Addr) }

// Ready returns nil when the server has answered an S3 request signed with its credentials. It waits for that until ctx
// ends or Run returns, and says why the last child died, if one did.
func (s *Supervisor) Ready(ctx context.Context) error {
	for {
		pid, last := s.state()
		// With no child there is nobody to ask: the port may still be another program's.
		if pid != 0 {
			if last = s.ask(ctx); last == nil {
				return nil
			}
		}
		select {
		case <-s.ended:
			return s.endedError()
		case <-ctx.Done():
			return fmt.Errorf("the S3 server on %s is not ready: %w", s.serve.Addr, errors.Join(context.Cause(ctx), last))
		case <-time.After(pollWait):
		}
	}
}

// endedError says why Run returned.
func (s *Supervisor) endedError() error {
	_, last := s.state()
	if last == nil {
		last = errors.New("it was stopped")
	}
	return fmt.Errorf("the S3 server on %s does not run: %w", s.serve.Addr, last)
}

func (s *Supervisor) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	_, err := s.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}

func (s *Supervisor) newClient() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL()),
		Region:       s.serve.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.serve.AccessKey, s.serve.SecretKey, ""),
		HTTPClient:   s.http,
		Retryer:      aws.NopRetryer{},
		UsePathStyle: true,
	})
}

// dialAddr is where a client on this machine finds a listener on addr: "all interfaces" is no address to connect to.
func dialAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
