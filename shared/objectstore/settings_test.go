package objectstore

import (
	"strings"
	"testing"

	"hydrant/shared/settings"
)

// TestSettings fills them as a service does that embeds them: by the names that every such service has.
func TestSettings(t *testing.T) {
	t.Setenv("HYDRANT_S3_ENDPOINT", "http://127.0.0.1:9000")
	t.Setenv("HYDRANT_PART_MEMORY", "10485760")
	var c struct {
		Settings
		Workers int `name:"workers" default:"8"`
	}
	check(t, settings.FromEnvironment(&c))
	wantEqual(t, "the endpoint", c.S3Endpoint, "http://127.0.0.1:9000")
	wantEqual(t, "the memory", c.PartMemory, 10<<20)
	wantEqual(t, "the region", c.S3Region, "us-east-1")
	wantEqual(t, "the part size", c.PartSize, MinPartSize)
	check(t, c.Validate())
	c.S3Endpoint = "http://me:hidden@127.0.0.1"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "HYDRANT_S3_ENDPOINT") {
		t.Errorf("an address with a password: %v", err)
	}
}
