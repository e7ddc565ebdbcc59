package names

// StagingStream is the JetStream stream of what is staged in S3 and not yet loaded: a work queue, out of which an
// acknowledgement takes a message.
const StagingStream = "STAGING"

// AllStaging are the subjects of StagingStream.
const AllStaging = "deliveries.staging.>"

// StagingSubject is where the objects of a delivery stream are announced that wait to be loaded.
func StagingSubject(s Stream) string { return "deliveries.staging." + s.token() }

// DeliveriesSubjects are the subjects of DeliveriesStream: those of every leg, and none of StagingStream, since JetStream
// gives a subject to one stream.
func DeliveriesSubjects() []string {
	return []string{
		deliveriesOfAll(LegS3), deliveriesOfAll(LegES), deliveriesOfAll(LegBackup), deliveriesOfAll(LegRedshift),
	}
}

// StreamDeliveries are the subjects of DeliveriesStream for one delivery stream.
func StreamDeliveries(s Stream) []string {
	return []string{
		DeliveriesSubject(LegS3, s), DeliveriesSubject(LegES, s), DeliveriesSubject(LegBackup, s), DeliveriesSubject(LegRedshift, s),
	}
}

func deliveriesOfAll(leg Leg) string { return "deliveries." + string(leg) + ".>" }
