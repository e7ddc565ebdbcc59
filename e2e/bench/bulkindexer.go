package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esutil"
)

// What hydrant-es does by default, BulkIndexer is set to.
const (
	bulkBytes    = 5 << 20
	bulkInFlight = 4
	// bulkQueue is how many documents wait for each worker: as many as a request has, so that one which awaits an answer does not
	// hold up the others.
	bulkQueue = 5000
)

// bulkIndexer is what hydrant-es is compared with: go-elasticsearch's esutil.BulkIndexer over Elastic's transport, with as large
// requests and as many of them under way, answers cut down to what it looks at, and connections that are kept.
type bulkIndexer struct {
	esutil.BulkIndexer
	http *http.Transport

	mu     sync.Mutex
	failed error
}

func newBulkIndexer(node, index string) (*bulkIndexer, error) {
	address, err := url.Parse(node)
	if err != nil {
		return nil, err
	}
	b := &bulkIndexer{http: &http.Transport{MaxIdleConnsPerHost: bulkInFlight, WriteBufferSize: 64 << 10}}
	client, err := elastictransport.NewClient(
		elastictransport.WithURLs(address), elastictransport.WithDisableRetry(), elastictransport.WithTransport(b.http))
	if err != nil {
		return nil, err
	}
	b.BulkIndexer, err = esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, Index: index, NumWorkers: bulkInFlight, FlushBytes: bulkBytes, QueueSizeMultiplier: bulkQueue,
		FlushInterval: time.Minute, FilterPath: []string{"errors", "items.*.status", "items.*.error"},
		OnError: func(_ context.Context, err error) { b.fail(err) },
	})
	return b, err
}

func (b *bulkIndexer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = errors.Join(b.failed, err)
}

// index sends documents, and returns when the last of them is answered.
func (b *bulkIndexer) index(ctx context.Context, documents []document) error {
	defer b.http.CloseIdleConnections()
	var err error
	for _, d := range documents {
		err = b.Add(ctx, esutil.BulkIndexerItem{Action: "create", DocumentID: d.id, Body: bytes.NewReader(d.body)})
		if err != nil {
			break
		}
	}
	err = errors.Join(err, b.Close(ctx))
	b.mu.Lock()
	defer b.mu.Unlock()
	if did := b.Stats(); err == nil && did.NumCreated != uint64(len(documents)) {
		err = fmt.Errorf("BulkIndexer created %d of %d documents", did.NumCreated, len(documents))
	}
	return errors.Join(err, b.failed)
}
