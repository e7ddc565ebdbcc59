package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

// TestFormats delivers the same records in each format. What reads the objects shares no code with what writes them.
func TestFormats(t *testing.T) {
	formats := []struct {
		format              types.CompressionFormat
		extension, encoding string
	}{
		{types.CompressionFormatUncompressed, "", ""},
		{types.CompressionFormatGzip, ".gz", "gzip"},
		{types.CompressionFormatZip, ".zip", "zip"},
		{types.CompressionFormatSnappy, ".snappy", "snappy-java"},
		{types.CompressionFormatHadoopSnappy, ".snappy", "hadoop-snappy"},
	}
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		var records []types.Record
		var want strings.Builder
		for n := range 4 {
			data := strings.Repeat(string(rune('a'+n))+" line of a log\n", 20_000)
			records = append(records, types.Record{Data: []byte(data)})
			want.WriteString(data)
		}
		for _, f := range formats {
			name := "in." + strings.ToLower(string(f.format))
			to := destination("formats", string(f.format)+"/", 1)
			to.CompressionFormat = f.format
			create(t, d, name, to)
			putBatch(t, d, name, records)
		}
		for _, f := range formats {
			prefix := string(f.format) + "/"
			if got := body(t, d, "formats", prefix, want.Len()); got != want.String() {
				t.Errorf("%s: %d bytes delivered are not the %d that were put", f.format, len(got), want.Len())
			}
			for _, o := range d.Objects("formats", prefix) {
				// The name's random part has no dot in it.
				if name := o.Key[strings.LastIndex(o.Key, "-")+1:]; !strings.HasSuffix(o.Key, f.extension) || strings.Contains(name, ".") != (f.extension != "") {
					t.Errorf("%s: object %q does not end in %q", f.format, o.Key, f.extension)
				}
				if o.Encoding != f.encoding || o.Type != "application/octet-stream" {
					t.Errorf("%s: object %q has Content-Encoding %q and Content-Type %q", f.format, o.Key, o.Encoding, o.Type)
				}
			}
		}
	})
}
