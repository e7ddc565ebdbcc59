package esnode

import (
	"context"
	"net/http"
	"net/url"
)

// CreateIndex makes an index; body has its settings and mappings, or is nil.
func (c *Client) CreateIndex(ctx context.Context, index string, body any) error {
	return c.Do(ctx, http.MethodPut, indexPath(index), body, nil)
}

// DeleteIndex deletes an index with its documents.
func (c *Client) DeleteIndex(ctx context.Context, index string) error {
	return c.Do(ctx, http.MethodDelete, indexPath(index), nil, nil)
}

// PutMapping adds fields to an index's mapping; each has a type, such as {"n": {"type": "integer"}}.
func (c *Client) PutMapping(ctx context.Context, index string, properties map[string]any) error {
	return c.Do(ctx, http.MethodPut, indexPath(index)+"/_mapping", map[string]any{"properties": properties}, nil)
}

// PutSettings changes settings of an index, such as index.refresh_interval.
func (c *Client) PutSettings(ctx context.Context, index string, settings map[string]any) error {
	return c.Do(ctx, http.MethodPut, indexPath(index)+"/_settings", settings, nil)
}

// PutClusterSettings changes settings of the cluster until it is restarted, such as cluster.blocks.read_only.
func (c *Client) PutClusterSettings(ctx context.Context, settings map[string]any) error {
	return c.Do(ctx, http.MethodPut, "/_cluster/settings", map[string]any{"transient": settings}, nil)
}

// PutIndexTemplate makes a template for indices that are made later; its body has index_patterns and template.
func (c *Client) PutIndexTemplate(ctx context.Context, name string, body any) error {
	return c.Do(ctx, http.MethodPut, "/_index_template/"+url.PathEscape(name), body, nil)
}

// BlockWrites makes an index, or all of a pattern, refuse every document with 403 until it is called with false.
func (c *Client) BlockWrites(ctx context.Context, index string, blocked bool) error {
	return c.PutSettings(ctx, index, map[string]any{"index.blocks.write": blocked})
}

func indexPath(index string) string { return "/" + url.PathEscape(index) }
