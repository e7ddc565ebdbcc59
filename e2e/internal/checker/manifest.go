package checker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What an error manifest says beside what it names.
const (
	metadataCode   = "hydrant-code"
	metadataReason = "hydrant-reason"
)

// Manifest is a manifest as a COPY reads it. It is written down here and not taken from the loader.
type Manifest struct {
	Entries []ManifestEntry `json:"entries"`
}

// ManifestEntry names an object of a manifest.
type ManifestEntry struct {
	URL       string `json:"url"`
	Mandatory *bool  `json:"mandatory"`
}

// ParseManifest reads an error manifest, and accepts only one that has a COPY load all that it names, or fail.
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest
	members := json.NewDecoder(bytes.NewReader(text))
	members.DisallowUnknownFields()
	if err := members.Decode(&m); err != nil {
		return m, err
	}
	if rest := bytes.TrimSpace(text[members.InputOffset():]); len(rest) > 0 {
		return m, errors.New("something behind the object")
	}
	if len(m.Entries) == 0 {
		return m, errors.New("it names nothing")
	}
	for _, entry := range m.Entries {
		if entry.Mandatory == nil || !*entry.Mandatory {
			return m, fmt.Errorf("%q may be missing for it", entry.URL)
		}
	}
	return m, nil
}

// manifest checks an error manifest, and reads the objects that it names.
func (c *rows) manifest(ctx context.Context, object Object) error {
	c.report.Objects++
	text, err := object.all(ctx)
	if err != nil {
		return err
	}
	m, err := ParseManifest(text)
	if err != nil {
		c.report.add(BadManifest, "%s: %v in %.200q", object.name(), err, text)
		return nil
	}
	if !strings.Contains(object.Key, "errors/manifests/") || object.Metadata[metadataCode] == "" || object.Metadata[metadataReason] == "" {
		c.report.add(BadManifest, "%s is in another folder, or gives no reason: %v", object.name(), object.Metadata)
	}
	records := 0
	for _, entry := range m.Entries {
		n, err := c.setAside(ctx, object, entry.URL)
		if err != nil {
			return err
		}
		records += n
	}
	if claimed := object.Metadata[MetadataRecords]; claimed != strconv.Itoa(records) {
		c.report.add(Miscounted, "%s has %s %q, and its objects %d", object.name(), MetadataRecords, claimed, records)
	}
	return nil
}

// setAside reads an object that a manifest names, and returns how many records it has.
func (c *rows) setAside(ctx context.Context, manifest Object, url string) (records int, err error) {
	object := c.staged[url]
	if object == nil {
		c.report.add(BadManifest, "%s names %s, which is not there", manifest.name(), url)
		return 0, nil
	}
	if of, in := StreamOfKey(object.Key), StreamOfKey(manifest.Key); of != in {
		c.report.add(WrongStream, "%s of %q names an object of %q", manifest.name(), in, of)
	}
	if object.named = append(object.named, manifest.name()); len(object.named) > 1 {
		c.report.add(DeliveredTwice, "%s is named by %v", url, object.named)
	}
	visit := func(offset int64, line []byte) {
		records++
		c.report.SetAside++
		where := fmt.Sprintf("%s at byte %d, by %s", url, offset, manifest.name())
		if record, _, ok := c.identify(where, line); ok {
			c.at(record).setAside = append(c.at(record).setAside, where)
		}
	}
	_, err = object.lines(ctx, MaxLine, visit, func(found damage) {
		c.report.add(Unparsable, "%s at byte %d: %v", url, found.offset, found.cause)
	})
	return records, err
}

// all reads an object that is small.
func (o Object) all(ctx context.Context) ([]byte, error) {
	body, err := o.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o.name(), err)
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("object %s: read: %w", o.name(), err)
	}
	return text, nil
}
