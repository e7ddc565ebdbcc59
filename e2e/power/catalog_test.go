//go:build linux

package power

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/names"
)

// gone is the prefix of a delivery stream that is not there.
const gone = "(gone)"

// catalog makes, changes and deletes delivery streams, one call after the other, and knows what has to be there: what was answered, and of a
// call that was not either what was before or what would be.
type catalog struct {
	r      *rig
	t      *testing.T
	client *firehose.Client
	rng    *rand.Rand
	calls  int
	may    map[string][]string // the prefixes that each may have
}

func newCatalog(r *rig) *catalog {
	r.t.Helper()
	return &catalog{
		r: r, t: r.t, client: r.Firehose(func(o *firehose.Options) { o.Retryer = aws.NopRetryer{} }),
		rng: rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64())), may: map[string][]string{},
	}
}

// change goes on until a call fails, or until the function it returns is called, which waits for the last.
func (c *catalog) change() (halt func()) {
	var running sync.WaitGroup
	halted := make(chan struct{})
	running.Go(func() {
		var err error
		for err == nil {
			select {
			case <-halted:
				err = errors.New("halted")
			default:
				err = c.call(c.t.Context())
			}
		}
		c.t.Logf("after %d calls: %v", c.calls, err)
	})
	return func() {
		close(halted)
		running.Wait()
	}
}

// call makes one call, and notes what it may have done before it does.
func (c *catalog) call(ctx context.Context) error {
	c.calls++
	there := slices.DeleteFunc(slices.Sorted(maps.Keys(c.may)), func(name string) bool { return c.may[name][0] == gone })
	prefix := fmt.Sprintf("call-%d/", c.calls)
	if len(there) < 3 {
		name := fmt.Sprintf("made-%d", c.calls%20) // names are used again
		c.may[name] = append(c.may[name], prefix)
		if len(c.may[name]) == 1 {
			c.may[name] = []string{gone, prefix}
		}
		_, err := c.client.CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: destination(prefix),
		})
		if err := c.answered(name, prefix, err); err != nil {
			return err
		}
		return c.settle(ctx, name)
	}
	name := there[c.rng.IntN(len(there))]
	if c.rng.IntN(2) == 0 {
		c.may[name] = append(c.may[name], gone)
		_, err := c.client.DeleteDeliveryStream(ctx, &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: &name})
		if err := c.answered(name, gone, err); err != nil {
			return err
		}
		return c.settle(ctx, name) // a later call may make it again
	}
	described, err := c.client.DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &name})
	if err != nil {
		return err
	}
	c.may[name] = append(c.may[name], prefix)
	_, err = c.client.UpdateDestination(ctx, &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: described.DeliveryStreamDescription.VersionId,
		DestinationId:               described.DeliveryStreamDescription.Destinations[0].DestinationId,
		ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{Prefix: &prefix},
	})
	return c.answered(name, prefix, err)
}

func (c *catalog) answered(name, prefix string, err error) error {
	if err == nil {
		c.may[name] = []string{prefix}
	}
	return err
}

// verify waits until nothing is being made or deleted any more, and compares what is there with what was answered.
func (c *catalog) verify() {
	c.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(c.may)) {
		var prefix string
		deploy.Eventually(c.t, name+" is in a state that lasts", func() bool {
			var err error
			prefix, err = c.look(c.t.Context(), name)
			return err == nil
		})
		if !slices.Contains(c.may[name], prefix) {
			c.t.Errorf("after %d calls %s has the prefix %s, and may have %v", c.calls, name, prefix, c.may[name])
		}
		c.may[name] = []string{prefix}
	}
}

// settle waits until a delivery stream is made or deleted.
func (c *catalog) settle(ctx context.Context, name string) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := c.look(ctx, name); !errors.Is(err, errChanging) {
			return err
		}
		<-ticker.C
	}
}

var errChanging = errors.New("it is being made or deleted")

// look returns the prefix of a delivery stream.
func (c *catalog) look(ctx context.Context, name string) (prefix string, err error) {
	described, err := c.client.DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &name})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return gone, nil
	case err != nil:
		return "", err
	case described.DeliveryStreamDescription.DeliveryStreamStatus != types.DeliveryStreamStatusActive:
		return "", errChanging
	}
	return aws.ToString(described.DeliveryStreamDescription.Destinations[0].ExtendedS3DestinationDescription.Prefix), nil
}

// verifyLogs makes sure that there is a log for each delivery stream, and no other: a deletion is undone by no cut.
func (c *catalog) verifyLogs() {
	c.t.Helper()
	want := append([]string{probed}, loaded...)
	for name, may := range c.may {
		if may[0] != gone {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	var got []string
	all := c.r.JetStream().StreamNames(c.t.Context())
	for name := range all.Name() {
		if log, ok := names.ParseLog(name); ok {
			got = append(got, string(log.Stream))
		}
	}
	must(c.t, all.Err())
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("there are logs of %v, want of %v", got, want)
	}
	c.t.Logf("%d calls; there are %v", c.calls, want)
}
