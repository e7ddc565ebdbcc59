package redrive

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/names"
	"hydrant/shared/objectname"
	"hydrant/shared/objectstore"
)

// aside is the folder of the bucket into which goes what is dealt with, under the whole of its former name.
const aside = "redriven/"

// place is where in a bucket a source's items are.
type place struct {
	in     objectstore.Object // without a key
	prefix string             // all of them have it, and so may have other objects
	stream names.Stream
}

func placeOf(s Source) (place, error) {
	in, err := objectstore.In(s.S3)
	if err != nil {
		return place{}, fmt.Errorf("version %d of the delivery stream: %w", s.Stream.Version, err)
	}
	in.Stream, in.ARN = s.Stream.Name, s.Stream.ARN
	template, err := objectname.ParseError(aws.ToString(s.S3.Prefix), aws.ToString(s.S3.ErrorOutputPrefix))
	if err != nil {
		return place{}, fmt.Errorf("version %d of the delivery stream: %w", s.Stream.Version, err)
	}
	return place{in: in, prefix: template.Common(s.ErrorType), stream: s.Stream.Name}, nil
}

// mayBe tells by an object's name that it may be an item. Reading what each object says of itself would take long in a bucket
// with many others.
func (p place) mayBe(key string) bool {
	name := key[strings.LastIndexByte(key, '/')+1:]
	version, ok := strings.CutPrefix(name, string(p.stream)+"-")
	return ok && version != "" && version[0] >= '0' && version[0] <= '9' && !p.isAside(key)
}

// isAside tells that an object was moved aside from here. Where the prefix begins with the folder's own name, everything does.
func (p place) isAside(key string) bool { return strings.HasPrefix(key, aside+p.prefix) }

// object is the object of a key.
func (p place) object(key string) objectstore.Object {
	o := p.in
	o.Key = key
	return o
}
