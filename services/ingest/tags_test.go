package ingest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// tagsOf makes tags of "key=value", or of "key" without a value.
func tagsOf(texts ...string) []types.Tag {
	var tags []types.Tag
	for _, text := range texts {
		key, value, found := strings.Cut(text, "=")
		tag := types.Tag{Key: &key}
		if found {
			tag.Value = &value
		}
		tags = append(tags, tag)
	}
	return tags
}

func textOf(tags []types.Tag) string {
	var texts []string
	for _, tag := range tags {
		text := *tag.Key
		if tag.Value != nil {
			text += "=" + *tag.Value
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func (r *replica) tag(name string, tags ...string) error {
	_, err := r.client.TagDeliveryStream(r.t.Context(), &firehose.TagDeliveryStreamInput{DeliveryStreamName: &name, Tags: tagsOf(tags...)})
	return err
}

func (r *replica) untag(name string, keys ...string) error {
	_, err := r.client.UntagDeliveryStream(r.t.Context(), &firehose.UntagDeliveryStreamInput{DeliveryStreamName: &name, TagKeys: keys})
	return err
}

func (r *replica) wantTags(name, want string) {
	r.t.Helper()
	out := must[*firehose.ListTagsForDeliveryStreamOutput](r.t)(r.client.ListTagsForDeliveryStream(r.t.Context(),
		&firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: &name}))
	if got := textOf(out.Tags); got != want || *out.HasMoreTags {
		r.t.Errorf("tags %q, more %v; want %q", got, *out.HasMoreTags, want)
	}
}

func wantNil(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("t"), ExtendedS3DestinationConfiguration: plainS3(), Tags: tagsOf("zone=a", "flag", "empty="),
	})
	wantNil(t, err)
	r.wantTags("t", "zone=a flag empty=")
	wantNil(t, r.tag("t", "new=1", "flag=now", "zone"))
	r.wantTags("t", "zone flag=now empty= new=1")
	wantNil(t, r.tag("t", "new=1", "flag=now", "zone")) // as after a lost answer
	r.wantTags("t", "zone flag=now empty= new=1")
	wantNil(t, r.untag("t", "nothing", "flag", "flag", "empty"))
	r.wantTags("t", "zone new=1")
	wantNil(t, r.untag("t", "nothing"))
	wantNil(t, r.untag("t", "zone", "new"))
	r.wantTags("t", "")
	if answer := r.raw("ListTagsForDeliveryStream", `{"DeliveryStreamName":"t"}`); answer.Body != `{"HasMoreTags":false,"Tags":[]}` {
		t.Error(answer.Body)
	}
	if answer := r.raw("TagDeliveryStream", `{"DeliveryStreamName":"t","Tags":[{"Key":"k"}]}`); answer.Body != "{}" {
		t.Error(answer.Body)
	}
	if d := must[*types.DeliveryStreamDescription](t)(r.describe("t")); *d.VersionId != "1" || d.LastUpdateTimestamp != nil {
		t.Errorf("version %s, updated %v", *d.VersionId, d.LastUpdateTimestamp)
	}
}

func TestTagsAreKeptByAnUpdate(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("t")
	wantNil(t, r.tag("t", "k=v"))
	wantNil(t, r.update("t", "1", &types.ExtendedS3DestinationUpdate{Prefix: aws.String("p/")}))
	r.wantTags("t", "k=v")
}

func TestNumberOfTags(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("t")
	var keys []string
	for i := range 49 {
		keys = append(keys, fmt.Sprintf("k%02d", i))
	}
	wantNil(t, r.tag("t", keys...))
	wantError(t, r.tag("t", "k00=again", "a", "b"), "LimitExceededException", "A delivery stream has at most 50 tags; Firehose t would have 51.")
	r.wantTags("t", strings.Join(keys, " "))
	wantNil(t, r.tag("t", "k00=again", "a"))
	wantError(t, r.tag("t", "b"), "LimitExceededException", "A delivery stream has at most 50 tags; Firehose t would have 51.")
	wantNil(t, r.tag("t", "a=in its place"))
	wantNil(t, r.untag("t", "k48"))
	wantNil(t, r.tag("t", "b"))
}

func TestPagesOfTags(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("t")
	wantNil(t, r.tag("t", "d", "c", "b=1", "a"))
	for name, test := range map[string]struct {
		members, want string
		more          bool
	}{
		"the first":              {`"Limit":2`, "d c", true},
		"the second":             {`"Limit":2,"ExclusiveStartTagKey":"c"`, "b=1 a", false},
		"after one":              {`"ExclusiveStartTagKey":"b"`, "a", false},
		"after the last":         {`"ExclusiveStartTagKey":"a"`, "", false},
		"exactly all":            {`"Limit":4`, "d c b=1 a", false},
		"one fewer":              {`"Limit":3`, "d c b=1", true},
		"after one that is gone": {`"Limit":50,"ExclusiveStartTagKey":"x"`, "d c b=1 a", false},
	} {
		t.Run(name, func(t *testing.T) {
			in := &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: aws.String("t")}
			read := must[any](t)(parse("ListTagsForDeliveryStream", `{"DeliveryStreamName":"t",`+test.members+`}`)).(*firehose.ListTagsForDeliveryStreamInput)
			in.Limit, in.ExclusiveStartTagKey = read.Limit, read.ExclusiveStartTagKey
			out := must[*firehose.ListTagsForDeliveryStreamOutput](t)(r.client.ListTagsForDeliveryStream(t.Context(), in))
			if got := textOf(out.Tags); got != test.want || *out.HasMoreTags != test.more {
				t.Errorf("%q, more %v", got, *out.HasMoreTags)
			}
		})
	}
}

// TestTagsOfSeveralReplicas has two replicas tag at once: none of them undoes what the other did.
func TestTagsOfSeveralReplicas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.start(), s.start()
	one.create("t")
	var taggers sync.WaitGroup
	for i := range 20 {
		r := one
		if i%2 == 1 {
			r = two
		}
		taggers.Go(func() {
			err := r.tag("t", fmt.Sprintf("k%02d=%d", i, i))
			for isCode(err, "ServiceUnavailableException") && t.Context().Err() == nil { // others came before it for as long as a request may take
				err = r.tag("t", fmt.Sprintf("k%02d=%d", i, i))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	taggers.Wait()
	out := must[*firehose.ListTagsForDeliveryStreamOutput](t)(two.client.ListTagsForDeliveryStream(t.Context(),
		&firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: aws.String("t")}))
	if len(out.Tags) != 20 {
		t.Errorf("%d tags: %s", len(out.Tags), textOf(out.Tags))
	}
}

func TestTagsOfOneThatIsNotActive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(never)
	const message = "Firehose c under accountId 000000000000 is CREATING: it can be used once it is ACTIVE"
	s.document("c", types.DeliveryStreamStatusCreating, 1)
	wantError(t, r.tag("c", "k"), "ResourceInUseException", message)
	wantError(t, r.untag("c", "k"), "ResourceInUseException", message)
	r.wantTags("c", "")
	const absent = "Firehose no under account 000000000000 not found."
	wantError(t, r.tag("no", "k"), "ResourceNotFoundException", absent)
	wantError(t, r.untag("no", "k"), "ResourceNotFoundException", absent)
	_, err := r.client.ListTagsForDeliveryStream(t.Context(), &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: aws.String("no")})
	wantError(t, err, "ResourceNotFoundException", absent)
}
