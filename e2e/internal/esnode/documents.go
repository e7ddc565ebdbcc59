package esnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
)

// Document is a document of an index. Of a data stream, Index is the one behind it.
type Document struct {
	Index string `json:"_index"`
	ID    string `json:"_id"`
	// Version is how often the document was written: 1 for one that was created and left alone.
	Version int64           `json:"_version"`
	Source  json.RawMessage `json:"_source"`
}

// shards says of how many shards an answer lacks the part: a count over the others would look like a loss.
type shards struct{ Failed int }

func (s shards) err() error {
	if s.Failed > 0 {
		return fmt.Errorf("%d shards did not answer", s.Failed)
	}
	return nil
}

// Refresh makes everything that was indexed visible to Count and Documents.
func (c *Client) Refresh(ctx context.Context, pattern string) error {
	var answer struct {
		Shards shards `json:"_shards"`
	}
	if err := c.Do(ctx, http.MethodPost, indexPath(pattern)+"/_refresh", nil, &answer); err != nil {
		return err
	}
	return answer.Shards.err()
}

// Count counts the documents of the indices that a pattern names, after a refresh. A pattern that names none has none;
// a name without an asterisk is a StatusError then, with status 404.
func (c *Client) Count(ctx context.Context, pattern string) (int, error) {
	if err := c.Refresh(ctx, pattern); err != nil {
		return 0, err
	}
	var answer struct {
		Count  int
		Shards shards `json:"_shards"`
	}
	if err := c.Do(ctx, http.MethodGet, indexPath(pattern)+"/_count", nil, &answer); err != nil {
		return 0, err
	}
	return answer.Count, answer.Shards.err()
}

// How many documents a page has: of 1 MB each, they have to fit into the node's memory; without their sources, any do, and
// 10,000 is the server's limit.
const (
	documentsPerPage = 100
	idsPerPage       = 5000
)

// page is a part of a search's answer.
type page struct {
	ScrollID string `json:"_scroll_id"`
	Shards   shards `json:"_shards"`
	TimedOut bool   `json:"timed_out"`
	Hits     struct{ Hits []Document }
}

// Documents gives every document of the indices that a pattern names, each as often as it is there, in no order, as they
// were when it began, after a refresh. An error is the last that it gives.
func (c *Client) Documents(ctx context.Context, pattern string) iter.Seq2[Document, error] {
	return c.search(ctx, pattern, documentsPerPage, true)
}

// IDs gives the same documents without their sources, several times as fast.
func (c *Client) IDs(ctx context.Context, pattern string) iter.Seq2[Document, error] {
	return c.search(ctx, pattern, idsPerPage, false)
}

func (c *Client) search(ctx context.Context, pattern string, size int, source bool) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		if err := c.Refresh(ctx, pattern); err != nil {
			yield(Document{}, err)
			return
		}
		query := map[string]any{"sort": []string{"_doc"}, "size": size, "_source": source, "version": true}
		next, err := c.page(ctx, indexPath(pattern)+"/_search?scroll=2m", query)
		defer func() { _ = c.endScroll(ctx, next.ScrollID) }()
		for err == nil && len(next.Hits.Hits) > 0 {
			for _, document := range next.Hits.Hits {
				if !yield(document, nil) {
					return
				}
			}
			next, err = c.page(ctx, "/_search/scroll", map[string]any{"scroll": "2m", "scroll_id": next.ScrollID})
		}
		if err != nil {
			yield(Document{}, err)
		}
	}
}

func (c *Client) page(ctx context.Context, path string, body any) (page, error) {
	var got page
	if err := c.Do(ctx, http.MethodPost, path, body, &got); err != nil {
		return page{}, err
	}
	if got.TimedOut {
		return got, errors.New("the search timed out")
	}
	return got, got.Shards.err()
}

// endScroll has the server forget a search. It would by itself, after two minutes.
func (c *Client) endScroll(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	return c.Do(ctx, http.MethodDelete, "/_search/scroll", map[string]any{"scroll_id": id}, nil)
}
