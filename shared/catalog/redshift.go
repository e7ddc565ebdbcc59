package catalog

import (
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
)

// RedshiftDestination is the destination Redshift: objects are staged in S3 by the leg of S3, and loaded from there.
//
// Description has every default filled in: ClusterJDBCURL, CopyCommand, Username, RetryOptions, S3BackupMode,
// CloudWatchLoggingOptions and S3DestinationDescription, the staging, are there.
type RedshiftDestination struct {
	Description types.RedshiftDestinationDescription `json:"description"`

	// Password is that of Description.Username. It is kept in the catalog as it is: who may read the catalog's bucket may
	// read it.
	Password Password `json:"password"`
}

// s3Of returns where a leg writes objects to: the staging has every record, and so has the backup where there is one.
func (r *RedshiftDestination) s3Of(leg names.Leg) *types.ExtendedS3DestinationDescription {
	switch {
	case leg == names.LegS3:
		return widened(r.Description.S3DestinationDescription)
	case leg == names.LegBackup && r.Description.S3BackupMode == types.RedshiftS3BackupModeEnabled:
		return widened(r.Description.S3BackupDescription)
	}
	return nil
}
