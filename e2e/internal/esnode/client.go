package esnode

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Client prepares a node for a test and looks at what is in it. It shares nothing with the client that is tested.
type Client struct {
	URL    string
	HTTP   *http.Client
	Header http.Header // of every request, such as Authorization
}

// newHTTP returns a client that leaves no connection behind when the test ends.
func newHTTP(t testing.TB, trust *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: trust}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// StatusError is an answer that is not a success.
type StatusError struct {
	Method, Path string
	Status       int
	Body         []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d: %.500s", e.Method, e.Path, e.Status, e.Body)
}

// Do sends a request and reads the answer. The body is sent as it is if it is []byte, as JSON else, and may be nil, and
// so may answer. An answer other than 2xx is a StatusError.
func (c *Client) Do(ctx context.Context, method, path string, body, answer any) error {
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", method, path, err)
	case response.StatusCode/100 != 2:
		return &StatusError{method, path, response.StatusCode, text}
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w: %.200s", method, path, err, text)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	text, isText := body.([]byte)
	if !isText && body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for name, values := range c.Header {
		request.Header[name] = values
	}
	if body != nil {
		// Bulk bodies are not one JSON value, but the server takes them under this type as well.
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// Info is what a node says of itself.
type Info struct {
	Name    string
	Version struct{ Number, Distribution string }
	Tagline string
}

// Info asks a node what it is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.Do(ctx, http.MethodGet, "/", nil, &info)
	return info, err
}
