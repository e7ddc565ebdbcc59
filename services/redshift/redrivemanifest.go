package redshift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
	"hydrant/shared/staging"
)

// mostManifest bounds what is read as a manifest: it has room for many times the objects that one names at most.
const mostManifest = 32 << 20

// errOtherForm says that a manifest is none that was written here. What somebody made by hand is for somebody to load by hand.
var errOtherForm = errors.New("it is not in the form in which error manifests are written")

// read returns the locations that an error manifest names; none if it is not there any more, since another run moved it.
func (r *Redriver) read(ctx context.Context, item redrive.Item) ([]string, error) {
	content, err := r.store.Open(ctx, item.Object)
	if err != nil || content == nil {
		return nil, err
	}
	defer func() { _ = content.Close() }() // it was read
	data, err := io.ReadAll(io.LimitReader(content, mostManifest+1))
	if err != nil {
		return nil, err
	}
	return readManifest(data)
}

// readManifest takes nothing but what encode writes, as far as it matters: a member that is not known might matter, too.
func readManifest(data []byte) ([]string, error) {
	if len(data) > mostManifest {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", errOtherForm, mostManifest)
	}
	from := json.NewDecoder(strings.NewReader(string(data)))
	from.DisallowUnknownFields()
	var m manifest
	if err := from.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherForm, err)
	}
	if _, err := from.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows it", errOtherForm)
	}
	return locations(m)
}

func locations(m manifest) (found []string, err error) {
	seen := map[string]bool{}
	for _, e := range m.Entries {
		if _, _, err := splitLocation(e.URL); err != nil {
			return nil, err
		}
		if seen[e.URL] {
			return nil, fmt.Errorf("%w: it names %.200q twice", errOtherForm, e.URL)
		}
		seen[e.URL] = true
		found = append(found, e.URL)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: it names nothing", errOtherForm)
	}
	return found, nil
}

func splitLocation(location string) (bucket, key string, err error) {
	path, ok := strings.CutPrefix(location, "s3://")
	bucket, key, found := strings.Cut(path, "/")
	if !ok || !found || bucket == "" || key == "" {
		return "", "", fmt.Errorf("%w: %.200q is no object in S3", errOtherForm, location)
	}
	return bucket, key, nil
}

// lookUp finds the staged objects. By what they say of themselves they are known to the ledger; those that are gone, or are not the
// delivery stream's, cannot be loaded.
func (r *Redriver) lookUp(ctx context.Context, item redrive.Item, named []string) (objects []*object, err error) {
	for _, location := range named {
		at := item.Object
		if at.Bucket, at.Key, err = splitLocation(location); err != nil {
			return nil, err
		}
		said, err := r.store.Describe(ctx, at)
		if err != nil {
			return nil, err
		}
		objects = append(objects, r.found(location, said))
	}
	return objects, nil
}

func (r *Redriver) found(location string, said *objectstore.Described) *object {
	o := &object{Object: &staging.Object{}}
	o.Location = location
	if said == nil {
		o.failed = &failure{verdict: verdict{codeMissingFile, ofSome}, err: fmt.Errorf("%s is gone", location)}
		return o
	}
	o.Batch, o.Oldest = batch.ID(said.Metadata[objectstore.MetadataBatch]), said.Modified
	o.Records, o.Bytes = number(said.Metadata[objectstore.MetadataRecords]), int64(number(said.Metadata[objectstore.MetadataBytes]))
	if !strings.HasPrefix(string(o.Batch), string(r.stream.ID)+"."+string(names.LegS3)+".") {
		o.failed = &failure{
			verdict: verdict{codeInternal, ofSome}, message: "Load by hand what was not staged by this delivery stream.",
			err: fmt.Errorf("%s does not say that it was staged by this delivery stream", location),
		}
	}
	return o
}

// number is 0 for what is none.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// triable are the objects of which nothing speaks against loading them.
func triable(objects []*object) (list []*object) {
	for _, o := range objects {
		if o.failed == nil {
			list = append(list, o)
		}
	}
	return list
}

// redriven is what became of a manifest's objects.
type redriven struct {
	objects []*object
	already map[batch.ID]bool
}

func (d *redriven) note(result copyResult) {
	for id := range result.already {
		if d.already == nil {
			d.already = map[batch.ID]bool{}
		}
		d.already[id] = true
	}
}

// left are the objects that are not loaded.
func (d *redriven) left() []*object { return pending(d.objects) }

// some tells that something is loaded, and that something is left.
func (d *redriven) some() bool {
	left := len(d.left())
	return left > 0 && left < len(d.objects)
}

func (d *redriven) outcome() (out redrive.Outcome) {
	for _, o := range d.objects {
		switch {
		case !o.loaded:
			out.Left += o.Records
		case d.already[o.Batch]:
			out.Already += o.Records
		default:
			out.Delivered += o.Records
		}
	}
	if left := d.left(); len(left) > 0 {
		out.Why = left[0].failed.describe()
	}
	return out
}

// writeRest names what is left in an error manifest of its own. It is written whatever ended meanwhile, so that what is loaded is named
// by none any more. Its name is derived from what is in it: a lost answer and a repeat mean the same manifest, and so do two runs.
func (r *Redriver) writeRest(ctx context.Context, left []*object) (objectstore.Object, error) {
	at, err := r.loader.manifests.object(r.stream, skipped, left)
	if err != nil {
		return at, err
	}
	at.Metadata = asideMetadata(left[0].failed, left)
	return at, r.loader.manifests.write(context.WithoutCancel(ctx), at, left, func() error { return nil })
}
