package esnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Signing is a key whose signatures (AWS Signature Version 4, service es) pass.
type Signing struct {
	AccessKey, SecretKey string
	SessionToken         string // of a role that was assumed; empty for a key of its own
	Region               string
}

// allow signs the request anew as the SDK does, with the same headers at the same time, and compares. It reads the body,
// and leaves another of the same content.
func (s Signing) allow(r *http.Request) bool {
	headers, ok := signedHeaders(r.Header.Get("Authorization"))
	if !ok || s.AccessKey == "" || r.Header.Get("X-Amz-Security-Token") != s.SessionToken {
		return false
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	again := withHeaders(r, headers)
	sum := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, SessionToken: s.SessionToken}
	if err := signer.NewSigner().SignHTTP(context.WithoutCancel(r.Context()), key, again, hex.EncodeToString(sum[:]), "es", s.Region, at); err != nil {
		return false
	}
	return again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

func signedHeaders(authorization string) ([]string, bool) {
	if !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 ") {
		return nil, false
	}
	_, list, _ := strings.Cut(authorization, "SignedHeaders=")
	list, _, ok := strings.Cut(list, ",")
	return strings.Split(list, ";"), ok
}

// withHeaders is the request with no other headers than those that were signed: on its way it can get more.
func withHeaders(r *http.Request, names []string) *http.Request {
	again := r.Clone(r.Context())
	again.Header = http.Header{}
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if !slices.Contains(names, "content-length") {
		again.ContentLength = -1
	}
	again.URL.Host, again.URL.Scheme = r.Host, "https"
	return again
}
