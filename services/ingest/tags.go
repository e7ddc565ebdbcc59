package ingest

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
)

const mostTags = 50

// tag sets tags in the order in which they came; one whose key is there already takes a new value in its old place. Where
// the answer of the write is lost the caller is told so, and a repeat sets the same again.
func (a *api) tag(ctx context.Context, in *firehose.TagDeliveryStreamInput) (any, error) {
	return &firehose.TagDeliveryStreamOutput{}, a.change(ctx, *in.DeliveryStreamName, func(d *catalog.DeliveryStream) error {
		for _, tag := range in.Tags {
			if at := tagIndex(d.Tags, *tag.Key); at >= 0 {
				d.Tags[at] = tag
			} else {
				d.Tags = append(d.Tags, tag)
			}
		}
		if len(d.Tags) > mostTags {
			return refusal(codeLimitExceeded, "A delivery stream has at most %d tags; Firehose %s would have %d.", mostTags, d.Name, len(d.Tags))
		}
		return nil
	})
}

// untag removes tags; keys that are not there are passed over, so a repeat after a lost answer changes nothing.
func (a *api) untag(ctx context.Context, in *firehose.UntagDeliveryStreamInput) (any, error) {
	return &firehose.UntagDeliveryStreamOutput{}, a.change(ctx, *in.DeliveryStreamName, func(d *catalog.DeliveryStream) error {
		d.Tags = slices.DeleteFunc(d.Tags, func(tag types.Tag) bool { return slices.Contains(in.TagKeys, *tag.Key) })
		return nil
	})
}

// listTags goes on after a tag. If that is gone meanwhile, its place is too: the list starts over, which leaves nothing out.
func (a *api) listTags(ctx context.Context, in *firehose.ListTagsForDeliveryStreamInput) (any, error) {
	d, err := a.find(ctx, *in.DeliveryStreamName)
	if err != nil {
		return nil, err
	}
	tags := d.Tags
	if in.ExclusiveStartTagKey != nil {
		tags = tags[tagIndex(tags, *in.ExclusiveStartTagKey)+1:]
	}
	limit := mostTags
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	more := len(tags) > limit
	return &firehose.ListTagsForDeliveryStreamOutput{
		Tags:        append([]types.Tag{}, tags[:min(len(tags), limit)]...),
		HasMoreTags: &more,
	}, nil
}

func tagIndex(tags []types.Tag, key string) int {
	return slices.IndexFunc(tags, func(tag types.Tag) bool { return *tag.Key == key })
}
