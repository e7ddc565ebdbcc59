package ingest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// What a request asks for that is wrong beyond the model's constraints, or not built yet, as far as the request alone tells.

const oneDestination = "Exactly one destination configuration is supported for a Firehose"

func checkCreate(in *firehose.CreateDeliveryStreamInput) error {
	if err := checkSource(in); err != nil {
		return err
	}
	if err := checkKeys(in.Tags); err != nil {
		return err
	}
	to := settingsOfCreate(in)
	if err := checkDestinations(given(in, "DestinationConfiguration"), to); err != nil {
		return err
	}
	_, err := to.destination(time.Time{})
	return err
}

// checkSource refuses any source but direct puts, and what else belongs to the delivery stream as a whole.
func checkSource(in *firehose.CreateDeliveryStreamInput) error {
	direct := in.DeliveryStreamType == "" || in.DeliveryStreamType == types.DeliveryStreamTypeDirectPut
	if direct && in.KinesisStreamSourceConfiguration != nil {
		return invalidArgument("KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream type")
	}
	if !direct {
		return notBuilt("DeliveryStreamType " + string(in.DeliveryStreamType))
	}
	later := append(given(in, "SourceConfiguration"), given(in, "EncryptionConfigurationInput")...)
	if len(later) > 0 {
		return notBuilt(later[0])
	}
	return nil
}

// checkDestinations wants one destination, and that one built; to is nil if none that is built is among those given.
func checkDestinations(given []string, to destinationSettings) error {
	if len(given) != 1 {
		return invalidArgument(oneDestination)
	}
	if to == nil {
		return notBuilt(given[0])
	}
	return to.check()
}

func checkUpdate(in *firehose.UpdateDestinationInput) error {
	updates := given(in, "DestinationUpdate")
	if len(updates) == 1 && in.HttpEndpointDestinationUpdate != nil { // no delivery stream has it
		return anotherType("HttpEndpoint")
	}
	return checkDestinations(updates, settingsOfUpdate(in))
}

func checkTag(in *firehose.TagDeliveryStreamInput) error { return checkKeys(in.Tags) }

// checkKeys refuses a key that comes twice, rather than take one of its values.
func checkKeys(tags []types.Tag) error {
	known := map[string]bool{}
	for _, tag := range tags {
		if known[*tag.Key] {
			return invalidArgument("Tags: a key is given more than once")
		}
		known[*tag.Key] = true
	}
	return nil
}
