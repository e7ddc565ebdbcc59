package objectstore

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// sdkAttempts is how often the SDK sends a request before the batch is handed back to wait in JetStream.
	sdkAttempts = 3
	// slowest is the rate in bytes a second below which sending a part counts as stuck.
	slowest = 64 << 10
	// stsTimeout is how long STS may take to answer. A worker waits for it.
	stsTimeout = 10 * time.Second
)

// clients gives out S3 clients: the service's own, and one for each role that it assumes. They share one transport.
type clients struct {
	own         *s3.Client
	credentials aws.CredentialsProvider
	with        func(as aws.CredentialsProvider, more ...func(*s3.Options)) *s3.Client
	sts         stscreds.AssumeRoleAPIClient // nil where roles are not assumed
	transport   *http.Transport
	unsigned    bool // bodies need no signature
	now         func() time.Time
	log         *slog.Logger

	mu    sync.Mutex
	roles map[role]*roleClient
	uses  uint64
}

// newClients reads the credentials and settings that the configuration leaves to the AWS SDK's own places.
func newClients(ctx context.Context, cfg Settings, demand Demand, log *slog.Logger) (*clients, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(cfg.S3Region)}
	if cfg.S3AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			cfg.S3AccessKeyID, cfg.S3SecretAccessKey, cfg.S3SessionToken)))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("S3 credentials and settings: %w", err)
	}
	c := &clients{transport: newTransport(loaded, cfg, demand), now: time.Now, log: log, roles: map[role]*roleClient{}}
	loaded.HTTPClient = &http.Client{Transport: c.transport, CheckRedirect: stay}
	loaded.Retryer = func() aws.Retryer { return newRetryer(demand) }
	c.with = func(as aws.CredentialsProvider, more ...func(*s3.Options)) *s3.Client {
		return s3.NewFromConfig(loaded, append([]func(*s3.Options){s3Options(cfg, as)}, more...)...)
	}
	c.own, c.credentials = c.with(loaded.Credentials), loaded.Credentials
	c.unsigned = mayLeaveUnsigned(cfg, c.own.Options().BaseEndpoint)
	if cfg.STSEndpoint != "" {
		c.sts = newSTS(loaded, cfg)
	}
	return c, nil
}

// close gives back the connections. Nobody may be using a client any more.
func (c *clients) close() { c.transport.CloseIdleConnections() }

func s3Options(cfg Settings, as aws.CredentialsProvider) func(*s3.Options) {
	return func(o *s3.Options) {
		o.Credentials = as
		if cfg.S3Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.S3Endpoint)
		}
		o.UsePathStyle = cfg.S3PathStyle
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
		if cfg.S3Checksums == checksumsRequired {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
		o.APIOptions = append(o.APIOptions, limitAttempts(cfg.S3Timeout))
	}
}

// newSTS returns a client for the requests that assume roles, which are made with the service's own credentials.
func newSTS(loaded aws.Config, cfg Settings) *sts.Client {
	return sts.NewFromConfig(loaded, func(o *sts.Options) {
		if cfg.STSEndpoint != stsOfAWS {
			o.BaseEndpoint = aws.String(cfg.STSEndpoint)
		}
		o.APIOptions = append(o.APIOptions, limitAttempts(min(cfg.S3Timeout, stsTimeout)))
	})
}

func newRetryer(demand Demand) aws.Retryer {
	return retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = sdkAttempts
		r.MaxBackoff = demand.Backoff  // longer waits belong to JetStream, where they hold no worker
		r.RateLimiter = ratelimit.None // one broken bucket is not to use up the others' retries
	})
}

// newTransport keeps the certificates that the SDK was told of (AWS_CA_BUNDLE) and has a connection ready for each
// request that the workers may send at once.
func newTransport(loaded aws.Config, cfg Settings, demand Demand) *http.Transport {
	built, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		built = awshttp.NewBuildableClient()
	}
	transport := built.GetTransport()
	transport.ResponseHeaderTimeout = cfg.S3Timeout
	transport.MaxIdleConnsPerHost = demand.Writers * partsInMemory
	transport.MaxIdleConns = 4 * transport.MaxIdleConnsPerHost // with virtual-hosted buckets each is a host of its own
	return transport
}

// stay shows a redirect to the SDK instead of following it: S3 uses them for a bucket in another region, where the
// signature would not hold.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// limitName is what the limit of an attempt is called among what the SDK does with a request.
const limitName = "HydrantLimit"

// limitAttempts bounds each single attempt of a request by the time for an answer and, on top, by what its body takes on
// the slowest line, or for a whole batch by the time in which nothing of it goes out. A body that goes out slowly is not cut
// off; a connection that stands still is, and the SDK repeats.
func limitAttempts(timeout time.Duration) func(*middleware.Stack) error {
	return eachAttempt(limitName, func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		limit := timeout
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		r, _ := in.Request.(*smithyhttp.Request)
		if body, ok := r.GetStream().(*stream); ok {
			defer body.watch(limit, cancel)()
		} else {
			if r.ContentLength > 0 {
				limit += time.Duration(r.ContentLength) * time.Second / slowest
			}
			defer time.AfterFunc(limit, cancel).Stop()
		}
		out, metadata, err := next.HandleFinalize(limited, in)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			// Not wrapped, since the SDK takes a cancelled request for one that nobody wants any more.
			err = &smithyhttp.RequestSendError{Err: fmt.Errorf("no answer within %s", limit)}
		}
		return out, metadata, err
	})
}

// onlyWhile makes a request ask permit before each attempt to send it, repeats included: the SDK pauses between attempts,
// and a process may be stopped at any time.
func onlyWhile(permit func() error) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, eachAttempt("HydrantPermit",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
				out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
			) {
				if err := permit(); err != nil {
					return out, metadata, err
				}
				return next.HandleFinalize(ctx, in)
			}))
	}
}

// once makes a request be sent once.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// eachAttempt puts f where it runs for each attempt, after signing and right before the request is sent.
func eachAttempt(name string, f func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc(name, f), middleware.After)
	}
}
