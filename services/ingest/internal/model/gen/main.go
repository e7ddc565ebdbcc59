// Command gen writes constraints.json out of the service model that botocore ships: of every shape that an operation's
// input reaches, its type, members and limits, and no documentation text.
//
//	make constraints MODEL=…/botocore/data/firehose/2015-08-04/service-2.json.gz
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	path := flag.String("model", "", "service-2.json of botocore, or service-2.json.gz")
	version := flag.String("version", "", "version of botocore; by default that of the package around the file")
	out := flag.String("out", "constraints.json", "file to write")
	flag.Parse()
	if err := run(*path, *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(path, version, out string) error {
	if version == "" {
		var err error
		if version, err = versionAround(path); err != nil {
			return err
		}
	}
	data, err := read(path)
	if err != nil {
		return err
	}
	written, err := generate(data, version)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(out, written, 0o644)
}

func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return data, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var plain bytes.Buffer
	_, err = plain.ReadFrom(unpacked)
	return plain.Bytes(), err
}

// versionAround reads the version of the botocore that the model is part of.
func versionAround(path string) (string, error) {
	init, err := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "..", "..", "__init__.py"))
	if err != nil {
		return "", fmt.Errorf("the version of botocore is not known, give -version: %w", err)
	}
	found := regexp.MustCompile(`(?m)^__version__ = ['"]([0-9.]+)['"]`).FindSubmatch(init)
	if found == nil {
		return "", fmt.Errorf("the version of botocore is not known, give -version")
	}
	return string(found[1]), nil
}

// source is what is read of the service model.
type source struct {
	Operations map[string]struct {
		Input struct{ Shape string }
	}
	Shapes map[string]sourceShape
}

type sourceShape struct {
	Type       string
	Required   []string
	Members    ordered
	Member     reference
	Key, Value reference
	Min, Max   *json.Number
	Pattern    string
	Enum       []string
}

type reference struct{ Shape string }

// ordered are the members of a structure in the model's order, which that of the violations follows.
type ordered []struct {
	name  string
	shape string
}

// UnmarshalJSON keeps the order.
func (o *ordered) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var to reference
		if err := d.Decode(&to); err != nil {
			return err
		}
		*o = append(*o, struct{ name, shape string }{name.(string), to.Shape})
	}
	return nil
}

// The table's own form, which package model reads.
type (
	table struct {
		Source     string            `json:"source"`
		Operations map[string]string `json:"operations"`
		Shapes     map[string]shape  `json:"shapes"`
	}
	shape struct {
		Type    string       `json:"type"`
		Members []member     `json:"members,omitempty"`
		Element string       `json:"element,omitempty"`
		Key     string       `json:"key,omitempty"`
		Min     *json.Number `json:"min,omitempty"`
		Max     *json.Number `json:"max,omitempty"`
		Pattern string       `json:"pattern,omitempty"`
		Match   string       `json:"match,omitempty"`
		Not     string       `json:"not,omitempty"`
		Enum    []string     `json:"enum,omitempty"`
	}
	member struct {
		Name     string `json:"name"`
		Shape    string `json:"shape"`
		Required bool   `json:"required,omitempty"`
	}
)

func generate(data []byte, version string) ([]byte, error) {
	var from source
	if err := json.Unmarshal(data, &from); err != nil {
		return nil, err
	}
	to := table{
		Source:     "botocore " + version + ", botocore/data/firehose/2015-08-04/service-2.json",
		Operations: map[string]string{},
		Shapes:     map[string]shape{},
	}
	for name, operation := range from.Operations {
		to.Operations[name] = operation.Input.Shape
		if err := to.add(from, operation.Input.Shape); err != nil {
			return nil, err
		}
	}
	return write(to)
}

// add takes in a shape and what it is made of.
func (t *table) add(from source, name string) error {
	if _, known := t.Shapes[name]; known || name == "" {
		return nil
	}
	s, known := from.Shapes[name]
	if !known {
		return fmt.Errorf("there is no shape %s", name)
	}
	made := shape{
		Type: s.Type, Element: s.Member.Shape + s.Value.Shape, Key: s.Key.Shape,
		Min: s.Min, Max: s.Max, Pattern: relaxed(name, s.Pattern), Enum: s.Enum,
	}
	var err error
	if made.Match, made.Not, err = rewritten(made.Pattern); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if seen := seenOrder(name); len(seen) > 0 {
		if !slices.Equal(slices.Sorted(slices.Values(seen)), slices.Sorted(slices.Values(s.Enum))) {
			return fmt.Errorf("%s has other values than those whose order is known", name)
		}
		made.Enum = seen
	}
	for _, m := range s.Members {
		made.Members = append(made.Members, member{m.name, m.shape, slices.Contains(s.Required, m.name)})
	}
	t.Shapes[name] = made
	for _, part := range append([]string{made.Element, made.Key}, shapesOf(made.Members)...) {
		if err := t.add(from, part); err != nil {
			return err
		}
	}
	return nil
}

func shapesOf(members []member) []string {
	shapes := make([]string, len(members))
	for i, m := range members {
		shapes[i] = m.Shape
	}
	return shapes
}

// seenOrder is the order in which the service itself was seen to list an enum's values, where it is not the model's.
func seenOrder(name string) []string {
	if name == "CompressionFormat" {
		return []string{"ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"}
	}
	return nil
}

// relaxed is the pattern that Hydrant has instead of one that leaves out what it serves as well. It is also what a caller is told.
func relaxed(shape, pattern string) string {
	const urlPattern = `jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`
	switch {
	case pattern == `https:.*` && slices.Contains([]string{"ElasticsearchClusterEndpoint", "AmazonopensearchserviceClusterEndpoint"}, shape):
		return `https?:.*` // also an Elasticsearch without TLS, as on a laptop
	case pattern == urlPattern: // of any host: also what speaks Redshift's protocol elsewhere; with parameters that say how to encrypt
		return `jdbc:(redshift|postgresql)://[A-Za-z0-9][A-Za-z0-9.-]*:\d{1,5}/[a-zA-Z0-9_$-]+(\?.*)?`
	}
	return pattern
}

// rewritten says how a pattern is matched that package regexp does not have: as another one, and not as a third.
func rewritten(pattern string) (match, not string, err error) {
	switch pattern {
	case `^(?!\s*$).+`: // something other than space
		return `.*\S.*`, "", nil
	case `[\u0001-\uFFFF]*`:
		return `[\x{1}-\x{FFFF}]*`, "", nil
	}
	plain := pattern
	if rest, found := strings.CutPrefix(pattern, `^(?!aws:)`); found {
		plain, match, not = rest, rest, `aws:.*`
	}
	if _, err := regexp.Compile(plain); err != nil {
		return "", "", fmt.Errorf("a pattern that needs a rewrite: %w", err)
	}
	return match, not, nil
}

// write puts a shape on each line, so that a difference between two models can be read.
func write(t table) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	line := func(before string, value any, after string) error {
		out.WriteString(before)
		if err := e.Encode(value); err != nil {
			return err
		}
		out.Truncate(out.Len() - 1)
		out.WriteString(after + "\n")
		return nil
	}
	if err := line("{\n\"source\": ", t.Source, ","); err != nil {
		return nil, err
	}
	if err := line("\"operations\": ", t.Operations, ",\n\"shapes\": {"); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(t.Shapes))
	for name := range t.Shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		if err := line(fmt.Sprintf("  %q: ", name), t.Shapes[name], comma); err != nil {
			return nil, err
		}
	}
	out.WriteString("}\n}\n")
	return out.Bytes(), nil
}
