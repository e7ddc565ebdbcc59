package staging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
)

const (
	// turns is the group of the consumer whose pinned client has the turn.
	turns = "load"

	// mostHeld is how many objects of a delivery stream may be in hand or wait for their next try; others wait behind.
	mostHeld = 10_000

	// codeNotUnique is JetStream's for a second consumer of the same subject of a work queue.
	codeNotUnique = 10100

	requestTime = 5 * time.Second
)

func (q *Queue) consumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:        q.consumer,
		FilterSubject:  names.StagingSubject(q.stream),
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        q.cfg.AckWait,
		MaxAckPending:  mostHeld,
		MaxDeliver:     -1,
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{turns},
		PinnedTTL:      q.cfg.AckWait,
	}
}

// openConsumer makes the consumer, or finds it. A work queue has one consumer for a subject, and an earlier delivery stream
// of the same name may have left its own: that goes first.
func (q *Queue) openConsumer(ctx context.Context) error {
	if err := q.confirm(ctx); err != nil {
		return err
	}
	_, err := q.js.CreateOrUpdateConsumer(ctx, names.StagingStream, q.consumerConfig())
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == codeNotUnique {
		if err := q.evict(ctx); err != nil {
			return err
		}
		_, err = q.js.CreateOrUpdateConsumer(ctx, names.StagingStream, q.consumerConfig())
	}
	if err != nil {
		return fmt.Errorf("make the consumer of staged objects: %w", err)
	}
	return nil
}

// confirm returns nil if the catalog had the delivery stream when confirm was called, and ErrSuperseded if not. Ids are never
// used again, so nothing that was announced or made before that, under its name and another id, is anybody's any more. That is
// removed then, so the word of a NATS server does not do: one that was stopped and wakes says what was so before.
func (q *Queue) confirm(ctx context.Context) error {
	if err := q.view.Prove(ctx); err != nil {
		return err
	}
	if err := q.view.Unreadable(q.stream); err != nil {
		return err
	}
	now := q.view.Get(q.stream)
	if now == nil || now.ID != q.id || now.Status == types.DeliveryStreamStatusDeleting {
		return ErrSuperseded
	}
	return nil
}

// evict deletes the consumers of earlier delivery streams of the same name. Their names have the ids of those, so a repeat,
// or a request that is carried out late, finds nothing. A consumer that is not Hydrant's stays, and is named.
func (q *Queue) evict(ctx context.Context) error {
	others, err := q.others(ctx)
	if err != nil {
		return fmt.Errorf("read the consumers of staged objects: %w", err)
	}
	if err := q.confirm(ctx); err != nil {
		return err
	}
	for _, name := range others {
		if !strings.HasPrefix(name, names.SinkConsumer(names.LegRedshift, q.stream, "")) {
			return fmt.Errorf("NATS subject %s is read by the consumer %s of %s, which is not Hydrant's: delete it", names.StagingSubject(q.stream), name, names.StagingStream)
		}
		q.log.Warn("deleting a consumer of staged objects that belongs to no delivery stream", "consumer", name)
		err := q.js.DeleteConsumer(ctx, names.StagingStream, name)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete the consumer %s: %w", name, err)
		}
	}
	return nil
}

// others returns the consumers, beside the Queue's own, that read its subject.
func (q *Queue) others(ctx context.Context) (found []string, err error) {
	stream, err := q.js.Stream(ctx, names.StagingStream)
	if err != nil {
		return nil, err
	}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Name != q.consumer && reads(info.Config, names.StagingSubject(q.stream)) {
			found = append(found, info.Name)
		}
	}
	return found, list.Err()
}

// reads tells whether a consumer is handed what is on a subject.
func reads(c jetstream.ConsumerConfig, subject string) bool {
	filters := c.FilterSubjects
	if len(filters) == 0 {
		filters = []string{cmp.Or(c.FilterSubject, ">")}
	}
	return slices.ContainsFunc(filters, func(f string) bool { return takesIn(f, subject) })
}

func takesIn(filter, subject string) bool {
	wanted, has := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range wanted {
		switch {
		case token == ">":
			return i < len(has)
		case i >= len(has) || token != "*" && token != has[i]:
			return false
		}
	}
	return len(wanted) == len(has)
}
