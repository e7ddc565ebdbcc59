package es

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"hydrant/shared/objectstore"
)

// signing signs requests with SigV4, for Amazon's domains. A process that wakes after a minute sends a signature that is five
// minutes from its end, or one that the server refuses; both are a repeat.
type signing struct {
	next        http.RoundTripper
	signer      *v4.Signer
	credentials objectstore.Credentials
	region      string
	now         func() time.Time
}

// RoundTrip implements http.RoundTripper. Where the domain does not take the credentials any more, though they have not ended,
// the request is sent once more with others: it was not carried out.
func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	sum, err := bodySum(r)
	if err != nil {
		return nil, err
	}
	answer, refused, err := s.send(r, sum)
	if err != nil || !dropped(answer) {
		return answer, err
	}
	_ = answer.Body.Close()
	s.credentials.Drop(refused)
	if r.GetBody != nil {
		r = r.Clone(r.Context())
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	answer, _, err = s.send(r, sum)
	return answer, err
}

// send returns the answer, and the credentials that the request was signed with.
func (s *signing) send(r *http.Request, sum string) (*http.Response, aws.Credentials, error) {
	credentials, err := s.credentials.Retrieve(r.Context())
	if err != nil {
		return nil, credentials, &signError{err}
	}
	r = r.Clone(r.Context())
	r.Header.Set("X-Amz-Content-Sha256", sum)
	if err := s.signer.SignHTTP(r.Context(), credentials, r, sum, "es", s.region, s.now()); err != nil {
		return nil, credentials, &signError{err}
	}
	answer, err := s.next.RoundTrip(r)
	return answer, credentials, err
}

// bodySum is the SHA-256 of a body, which stays to be sent.
func bodySum(r *http.Request) (string, error) {
	sum := sha256.New()
	if r.Body != nil && r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return "", err
		}
		defer func() { _ = body.Close() }()
		if _, err := io.Copy(sum, body); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// dropped tells the answer to credentials that are not taken any more, since their session was revoked or the clocks differ. The
// answer can be read all the same.
func dropped(answer *http.Response) bool {
	if answer.StatusCode != http.StatusForbidden {
		return false
	}
	begins, _ := io.ReadAll(io.LimitReader(answer.Body, mostInfo)) // its error comes again
	answer.Body = &unread{io.MultiReader(bytes.NewReader(begins), answer.Body), answer.Body}
	if kind := answer.Header.Get("X-Amzn-Errortype"); strings.HasPrefix(kind, "ExpiredToken") || strings.HasPrefix(kind, "UnrecognizedClient") {
		return true
	}
	return bytes.Contains(begins, []byte("security token included in the request is"))
}

// unread is a body of which a part was read, and is to be read again.
type unread struct {
	io.Reader
	io.Closer
}

// signError says that a request was not sent, since it could not be signed.
type signError struct{ err error }

func (e *signError) Error() string { return fmt.Sprintf("sign for the domain: %v", e.err) }

// Unwrap returns the cause, of which objectstore.Refused tells whether it will last.
func (e *signError) Unwrap() error { return e.err }
