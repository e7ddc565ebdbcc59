package objectname

import (
	"strconv"
	"time"
)

// Name is an object's own name, which follows its evaluated prefix: all but its extension. The id tells the batches of a second apart.
func Name(stream string, version int, at time.Time, zone *time.Location, id string) string {
	return stream + "-" + strconv.Itoa(version) + at.In(zoneOr(zone)).Format("-2006-01-02-15-04-05-") + id
}

// Extension is the ending of a name: that of the compression, unless a FileExtension takes its place.
func Extension(fileExtension, ofCompression string) string {
	if fileExtension != "" {
		return fileExtension
	}
	return ofCompression
}
