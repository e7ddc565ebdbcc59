package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// bulkServer takes bulk requests as Elasticsearch does and keeps nothing of them but the number of documents, so that what sends them is
// the slower of the two.
type bulkServer struct {
	url       string
	server    *http.Server
	ended     chan error
	documents atomic.Int64
}

func startBulkServer(ctx context.Context) (*bulkServer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &bulkServer{url: "http://" + listener.Addr().String(), ended: make(chan error, 1)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { s.ended <- s.server.Serve(listener) }()
	return s, nil
}

func (s *bulkServer) close() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// ServeHTTP answers who it is, and bulk requests.
func (s *bulkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	if !strings.HasSuffix(r.URL.Path, "/_bulk") {
		_, _ = io.WriteString(w, `{"version":{"number":"9.5.3"},"tagline":"You Know, for Search"}`)
		return
	}
	answer, documents, err := bulkAnswer(r.Body)
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"error":%q}`, err.Error()), http.StatusBadRequest)
		return
	}
	s.documents.Add(int64(documents))
	_, _ = w.Write(answer)
}

// bulkLine is longer than a record with its action.
const bulkLine = 256 << 10

// bulkAnswer reads a bulk request of actions create, and says of each document that it was.
func bulkAnswer(body io.Reader) (answer []byte, documents int, err error) {
	lines := bufio.NewReaderSize(body, bulkLine)
	answer = append(answer, `{"errors":false,"items":[`...)
	for {
		action, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(action) == 0 {
			return append(answer, "]}"...), documents, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("an action: %w", err)
		}
		_, id, found := bytes.Cut(action, []byte(`"_id":"`))
		end := bytes.IndexByte(id, '"')
		if !found || end < 0 {
			return nil, 0, fmt.Errorf("an action without an id: %.100q", action)
		}
		if documents > 0 {
			answer = append(answer, ',')
		}
		answer = append(append(append(answer, `{"create":{"_id":"`...), id[:end]...), `","status":201}}`...)
		if _, err := lines.ReadSlice('\n'); err != nil {
			return nil, 0, fmt.Errorf("a document: %w", err)
		}
		documents++
	}
}
