package s3sink

import "hydrant/shared/objectstore"

// way is how an object can be written: by which request it gets its name, and what leads to that.
type way struct {
	name, operation string
	size            int
	change          func(*Config)
}

func ways() []way {
	return []way{
		{"single put", "PutObject", 1000, inParts},
		{"multipart", "CompleteMultipartUpload", several, inParts},
		{"straight from the log", "PutObject", several, straight},
	}
}

// options make a delivery stream that leaves the way as it is: what is compressed is always assembled.
func (w way) options() []option {
	if w.name == "straight from the log" {
		return nil
	}
	return []option{compressed}
}

// inParts has objects assembled in memory.
func inParts(c *Config) { c.PutSize = 0 }

// straight has uncompressed objects sent as they come from the log, as they are to an S3 server of the same machine.
func straight(c *Config) { c.PutSize, c.S3SignPayload = objectstore.MaxPutSize, "auto" }
