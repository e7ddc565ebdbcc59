package ingest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"hydrant/services/ingest/internal/model"
)

// sample returns a value of a shape that keeps all constraints.
func sample(t testing.TB, s *model.Shape) any {
	t.Helper()
	switch s.Type {
	case model.Structure:
		return withNeeded(t, s, map[string]any{})
	case model.List:
		return []any{sample(t, s.Element)}
	case model.Map:
		return map[string]any{"a": sample(t, s.Element)}
	case model.Boolean:
		return true
	case model.Timestamp:
		return 1480000000.5
	case model.Blob:
		return "QQ=="
	case model.Integer, model.Double:
		if s.Min != nil && *s.Min > 0 {
			return *s.Min
		}
		return 1
	case model.String:
		return sampleText(t, s)
	}
	t.Fatalf("%s: there is no sample of a %s", s.Name, s.Type)
	return nil
}

// withNeeded adds to members what a structure needs.
func withNeeded(t testing.TB, s *model.Shape, members map[string]any) map[string]any {
	t.Helper()
	for _, m := range s.Members {
		if _, given := members[m.Name]; m.Required && !given {
			members[m.Name] = sample(t, m.Shape)
		}
	}
	return members
}

func sampleText(t testing.TB, s *model.Shape) string {
	t.Helper()
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Name == "CustomTimeZone":
		return "Europe/Berlin" // its pattern fits much that is no zone
	}
	for _, text := range []string{
		"a", "1", "aaaaaa", ".a", "https://example.com", "s3://a", "jdbc:redshift://example.com:5439/dev",
		"arn:aws:s3:::bucket", "arn:aws:iam::000000000000:role/r", "arn:aws:kms:us-east-1:000000000000:key/k",
		"arn:aws:es:us-east-1:000000000000:domain/logs", "arn:aws:kinesis:us-east-1:000000000000:stream/s",
		"arn:aws:secretsmanager:us-east-1:000000000000:secret:s", "arn:aws:glue:us-east-1:000000000000:catalog",
		"account-name.us-east-1.snowflakecomputing.com", "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0",
		strings.Repeat("A", 256),
	} {
		if len(broken(s, text)) == 0 {
			return text
		}
	}
	t.Fatalf("%s: no sample keeps its constraints: %s", s.Name, s.Pattern)
	return ""
}

func broken(s *model.Shape, value any) []string {
	var broken []string
	data, _ := json.Marshal(value)
	s.Check(data, func(path, constraint string) { broken = append(broken, path+": "+constraint) })
	return broken
}

// sampleJSON is a sample of the shape of that name.
func sampleJSON(t testing.TB, name string) string {
	t.Helper()
	m := must[*model.Model](t)(apiModel())
	data := must[[]byte](t)(json.Marshal(sample(t, m.Shapes[name])))
	return string(data)
}

// TestSamples shows that each shape of the model can be had, so that the tests that use samples reach everything.
func TestSamples(t *testing.T) {
	m := must[*model.Model](t)(apiModel())
	for name, s := range m.Shapes {
		if broken := broken(s, sample(t, s)); broken != nil {
			t.Errorf("%s: %v", name, broken)
		}
	}
}

// memberOf returns the member of that name.
func memberOf(s *model.Shape, name string) *model.Member {
	at := slices.IndexFunc(s.Members, func(m model.Member) bool { return m.Name == name })
	if at < 0 {
		return nil
	}
	return &s.Members[at]
}
