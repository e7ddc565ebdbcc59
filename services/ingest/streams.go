package ingest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/ingest/internal/model"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/names"
)

// api serves the operations, once NATS is there.
type api struct {
	cfg       Config
	model     *model.Model
	catalog   *catalog.Catalog
	view      *catalog.View
	refresher *refresher
	lifecycle *lifecycle
	puts      *putLog
	metrics   *apiMetrics
	log       *slog.Logger
}

const (
	defaultList  = 10
	mostNamed    = 50 // names in the message about the quota
	repeatPause  = 100 * time.Millisecond
	inUseMessage = "Firehose %s under accountId %s is %s: it can be used once it is ACTIVE"
)

func (a *api) arn(name string) string {
	return "arn:aws:firehose:" + a.cfg.Region + ":" + a.cfg.AccountID + ":deliverystream/" + name
}

// create stores the document, makes the logs, and answers when the delivery stream is ACTIVE. Who dies in between leaves a
// document in CREATING, which any replica finishes.
func (a *api) create(ctx context.Context, in *firehose.CreateDeliveryStreamInput) (any, error) {
	if err := a.checkQuota(ctx); err != nil {
		return nil, err
	}
	name, now := *in.DeliveryStreamName, time.Now().UTC()
	destination, err := settingsOfCreate(in).destination(now)
	if err != nil {
		return nil, err
	}
	d := &catalog.DeliveryStream{
		Name:             names.Stream(name),
		ID:               names.NewStreamID(),
		ARN:              a.arn(name),
		Status:           types.DeliveryStreamStatusCreating,
		Created:          now,
		Shards:           a.cfg.Shards,
		RetentionSeconds: int64(a.cfg.NATS.Retention / time.Second),
		Version:          1,
		Destination:      destination,
		Tags:             in.Tags,
	}
	if err := a.store(ctx, d); err != nil {
		return nil, err
	}
	if err := a.finishNow(ctx, d); err != nil {
		return nil, err
	}
	return &firehose.CreateDeliveryStreamOutput{DeliveryStreamARN: &d.ARN}, nil
}

// checkQuota bounds the number of delivery streams. Creations that race may go a few beyond it.
func (a *api) checkQuota(ctx context.Context) error {
	if err := a.refresher.refresh(ctx); err != nil {
		return err
	}
	existing := a.sorted()
	if len(existing) < a.cfg.MaxStreams {
		return nil
	}
	listed := strings.Join(existing[:min(len(existing), mostNamed)], ", ")
	if len(existing) > mostNamed {
		listed += ", ..."
	}
	return refusal(codeLimitExceeded, "You have already consumed your firehose quota of %d hoses. Firehose names: [%s]", a.cfg.MaxStreams, listed)
}

// store stores a new document. A lost answer leaves it open whether the document is there, so it is stored again until
// there is an answer: what is found then is our own, which its id tells, or somebody else's. When the call's time is over
// before that, the document may be there all the same, even later on: it is then finished like that of a creator that
// died. A creator that goes on after a minute is as any other: its document, if it gets to store one, is a new one.
func (a *api) store(ctx context.Context, d *catalog.DeliveryStream) error {
	for {
		err := a.catalog.Create(ctx, d)
		if errors.Is(err, catalog.ErrExists) {
			return a.storedBy(ctx, d)
		}
		if err == nil || !a.pause(ctx) {
			return err
		}
	}
}

func (a *api) storedBy(ctx context.Context, d *catalog.DeliveryStream) error {
	found, err := a.catalog.Read(ctx, d.Name)
	switch {
	case err == nil && found.ID == d.ID:
		return nil
	case err == nil, errors.Is(err, catalog.ErrNotFound), errors.Is(err, format.ErrNewer):
		return refusal(codeResourceInUse, "Firehose %s under accountId %s already exists", d.Name, a.cfg.AccountID)
	}
	return err
}

// finishNow makes the delivery stream ACTIVE within the call's time.
func (a *api) finishNow(ctx context.Context, d *catalog.DeliveryStream) error {
	for {
		err := a.lifecycle.finish(ctx, d)
		var held *heldError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &held):
			a.abandon(ctx, d)
			return invalidArgument("%s", held)
		case errors.Is(err, errSuperseded):
			return refusal(codeResourceInUse, "Firehose %s under accountId %s was deleted while it was created", d.Name, a.cfg.AccountID)
		case !a.pause(ctx):
			return err
		}
	}
}

// abandon lets a creation that cannot succeed be removed. If that fails the document stays in CREATING, and is finished
// when what stood in the way is gone.
func (a *api) abandon(ctx context.Context, d *catalog.DeliveryStream) {
	_, err := a.catalog.Update(ctx, d.Name, func(now *catalog.DeliveryStream) error {
		if now.ID != d.ID || now.Status != types.DeliveryStreamStatusCreating {
			return errSuperseded
		}
		now.Status = types.DeliveryStreamStatusDeleting
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		a.log.Warn("a failed creation stays in the catalog", "stream", d.Name, "error", err)
	}
}

// pause reports whether there is time for another try.
func (a *api) pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(repeatPause):
		return true
	}
}

// find returns the newest document.
func (a *api) find(ctx context.Context, name string) (*catalog.DeliveryStream, error) {
	if err := a.refresher.refresh(ctx); err != nil {
		return nil, err
	}
	if d := a.view.Get(names.Stream(name)); d != nil {
		return d, nil
	}
	if err := a.view.Unreadable(names.Stream(name)); err != nil {
		return nil, newerFormat(err)
	}
	return nil, a.notFound(name)
}

// newerFormat is about a delivery stream that a newer replica keeps: another call may reach that one.
func newerFormat(err error) *apiFailure {
	return serviceUnavailable("The delivery stream cannot be used by this version of Hydrant: upgrade it.", err)
}

func (a *api) notFound(name string) error {
	return refusal(codeResourceNotFound, "Firehose %s under account %s not found.", name, a.cfg.AccountID)
}

func (a *api) describe(ctx context.Context, in *firehose.DescribeDeliveryStreamInput) (any, error) {
	d, err := a.find(ctx, *in.DeliveryStreamName)
	if err != nil {
		return nil, err
	}
	description := &types.DeliveryStreamDescription{
		DeliveryStreamName:   in.DeliveryStreamName,
		DeliveryStreamARN:    &d.ARN,
		DeliveryStreamStatus: d.Status,
		DeliveryStreamType:   types.DeliveryStreamTypeDirectPut,
		VersionId:            aws.String(strconv.Itoa(d.Version)),
		CreateTimestamp:      &d.Created,
		Destinations:         []types.DestinationDescription{},
		HasMoreDestinations:  aws.Bool(false),
		DeliveryStreamEncryptionConfiguration: &types.DeliveryStreamEncryptionConfiguration{
			Status: types.DeliveryStreamEncryptionStatusDisabled,
		},
	}
	if !d.Updated.IsZero() {
		description.LastUpdateTimestamp = &d.Updated
	}
	if aws.ToString(in.ExclusiveStartDestinationId) < d.Destination.ID {
		description.Destinations = append(description.Destinations, describeDestination(d.Destination))
	}
	return &firehose.DescribeDeliveryStreamOutput{DeliveryStreamDescription: description}, nil
}

// sorted returns the names of all delivery streams of the view.
func (a *api) sorted() []string {
	all := a.view.All()
	list := make([]string, 0, len(all))
	for name := range all {
		list = append(list, string(name))
	}
	slices.Sort(list)
	return list
}

func (a *api) list(ctx context.Context, in *firehose.ListDeliveryStreamsInput) (any, error) {
	if err := a.refresher.refresh(ctx); err != nil {
		return nil, err
	}
	var list []string
	if in.DeliveryStreamType == "" || in.DeliveryStreamType == types.DeliveryStreamTypeDirectPut {
		list = a.sorted()
	}
	if start := in.ExclusiveStartDeliveryStreamName; start != nil {
		at, found := slices.BinarySearch(list, *start)
		if found {
			at++
		}
		list = list[at:]
	}
	limit := defaultList
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	more := len(list) > limit
	return &firehose.ListDeliveryStreamsOutput{
		DeliveryStreamNames:    append([]string{}, list[:min(len(list), limit)]...),
		HasMoreDeliveryStreams: &more,
	}, nil
}

// change changes the document of an ACTIVE delivery stream.
func (a *api) change(ctx context.Context, name string, change func(*catalog.DeliveryStream) error) error {
	meant, err := a.find(ctx, name)
	if err != nil {
		return err
	}
	return a.changeOf(ctx, meant, change)
}

// changeOf leaves a delivery stream alone that is made again under the name before the change is stored: whoever waited or
// slept so long did not mean that one.
func (a *api) changeOf(ctx context.Context, meant *catalog.DeliveryStream, change func(*catalog.DeliveryStream) error) error {
	name := string(meant.Name)
	_, err := a.catalog.Update(ctx, meant.Name, func(d *catalog.DeliveryStream) error {
		switch {
		case d.ID != meant.ID:
			return a.notFound(name)
		case d.Status != types.DeliveryStreamStatusActive:
			return refusal(codeResourceInUse, inUseMessage, name, a.cfg.AccountID, d.Status)
		}
		return change(d)
	})
	if errors.Is(err, catalog.ErrNotFound) {
		return a.notFound(name)
	}
	return err
}

// update changes the destination. Where the answer of the write is lost the caller is told so, and what a repeat of its
// call is answered says which: another version id means that the first one was stored. An updater that goes on after a
// minute loses against whatever was written meanwhile.
func (a *api) update(ctx context.Context, in *firehose.UpdateDestinationInput) (any, error) {
	name := *in.DeliveryStreamName
	err := a.change(ctx, name, func(d *catalog.DeliveryStream) error {
		if version := strconv.Itoa(d.Version); version != *in.CurrentDeliveryStreamVersionId {
			return refusal(codeConcurrentModification,
				"Cannot update firehose: %s since the current version id: %s and specified version id: %s do not match",
				name, version, *in.CurrentDeliveryStreamVersionId)
		}
		if d.Destination.ID != *in.DestinationId {
			return invalidArgument("Destination Id %s not found", *in.DestinationId)
		}
		now := time.Now().UTC()
		to, err := settingsOfUpdate(in).applied(d.Destination, now)
		if err == nil {
			d.Replace(to, now)
		}
		return err
	})
	if err != nil {
		return nil, a.updateNotFound(name, err)
	}
	return &firehose.UpdateDestinationOutput{}, nil
}

// updateNotFound gives a delivery stream that does not exist the message that this operation has for it.
func (a *api) updateNotFound(name string, err error) error {
	var refused *apiFailure
	if errors.As(err, &refused) && refused.code == codeResourceNotFound {
		return refusal(codeResourceNotFound, "Firehose %s under accountId %s not found.", name, a.cfg.AccountID)
	}
	return err
}

// delete answers once the document says DELETING: the removal goes on whoever dies. Where the answer of the write is
// lost, a repeat finds DELETING, or nothing. Before the write only its revision is known, so a deleter that goes on after
// a minute does not mark a delivery stream that was made again.
func (a *api) delete(ctx context.Context, in *firehose.DeleteDeliveryStreamInput) (any, error) {
	name := *in.DeliveryStreamName
	if _, err := a.find(ctx, name); err != nil {
		return nil, err
	}
	_, err := a.catalog.Update(ctx, names.Stream(name), func(d *catalog.DeliveryStream) error {
		switch d.Status {
		case types.DeliveryStreamStatusCreating:
			return refusal(codeResourceInUse, inUseMessage, name, a.cfg.AccountID, d.Status)
		case types.DeliveryStreamStatusDeleting:
			return errDeletingAlready
		default:
			d.Status = types.DeliveryStreamStatusDeleting
			return nil
		}
	})
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, a.notFound(name)
	}
	if err != nil && !errors.Is(err, errDeletingAlready) {
		return nil, err
	}
	return &firehose.DeleteDeliveryStreamOutput{}, nil
}

var errDeletingAlready = errors.New("the delivery stream is being deleted already")
