package objectstore

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What S3 is told instead of the SHA-256 of a body.
const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	// unsignedTrailer is of a body in S3's own chunks, with a checksum behind it.
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

	checksumTrailer = "x-amz-checksum-crc32"
)

// mayLeaveUnsigned tells whether bodies need no signature, so that they can be sent as they come and nobody has to compute
// SHA-256. A signature is for those who could change a body on its way: with TLS nobody can, and on the way from one
// program of a machine to another there is nobody. That it arrived as it was sent is what the checksum is for; where that is
// left out, only TLS has one.
func mayLeaveUnsigned(cfg Settings, endpoint *string) bool {
	if endpoint == nil {
		return true // AWS, by https
	}
	u, err := url.Parse(*endpoint)
	if err != nil {
		return false
	}
	switch {
	case u.Scheme == "https":
		return true
	case cfg.S3Checksums == checksumsRequired || cfg.S3SignPayload == signAlways:
		return false
	case cfg.S3SignPayload == signNever:
		return true
	default:
		return ofThisMachine(u.Host)
	}
}

func ofThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// withoutSignature leaves the body of a request unsigned.
func withoutSignature(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, payloadHash(unsignedPayload))
}

// payloadHash tells the signer before the SDK computes a hash.
func payloadHash(hash string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("HydrantPayload",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
				middleware.InitializeOutput, middleware.Metadata, error,
			) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, hash), in)
			}), middleware.Before)
	}
}

// asStream makes a request send b as it is: the SDK, which would read all of it for a checksum before it sends anything by
// plain http, has nothing to compute.
func asStream(b *stream) func(*s3.Options) {
	return func(o *s3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		if !b.checksum {
			withoutSignature(o)
			return
		}
		o.APIOptions = append(o.APIOptions, payloadHash(unsignedTrailer), func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("HydrantTrailer",
				func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
					middleware.FinalizeOutput, middleware.Metadata, error,
				) {
					if r, ok := in.Request.(*smithyhttp.Request); ok {
						b.announce(r)
					}
					return next.HandleFinalize(ctx, in)
				}), "ResolveEndpointV2", middleware.After)
		})
	}
}

// announce says how the body is written. S3 servers see by the hash that stands for a trailer that it is in chunks. AWS
// documents the encoding beside it and takes it off again; versitygw, which is what is on this machine, keeps it with the
// object, and whoever reads that does not know it.
func (s *stream) announce(r *smithyhttp.Request) {
	r.Header.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(s.content.Size, 10))
	r.Header.Set("X-Amz-Trailer", checksumTrailer)
	if r.IsHTTPS() {
		r.Header.Set("Content-Encoding", "aws-chunked")
	}
}
