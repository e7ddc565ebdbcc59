package compose

import (
	"database/sql"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	_ "github.com/lib/pq"
)

const staging = "staging"

// firstRow is what a new user of the profile redshift does.
func (p *project) firstRow() {
	p.t.Helper()
	db := p.redshift()
	_, err := db.ExecContext(p.t.Context(), "CREATE TABLE people (name varchar(100), born int)")
	p.must(err)
	_, err = p.firehose().CreateDeliveryStream(p.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("people"), RedshiftDestinationConfiguration: intoTable("people"),
	})
	p.must(err)
	_, err = p.firehose().PutRecord(p.t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: aws.String("people"), Record: &types.Record{Data: []byte(`{"name": "Ada", "born": 1815}` + "\n")},
	})
	p.must(err)
	p.eventually("there is a row", time.Minute, func() bool {
		var name string
		err := db.QueryRowContext(p.t.Context(), "SELECT name FROM people WHERE born = 1815").Scan(&name)
		return err == nil && name == "Ada"
	})
}

// redshift is a connection to the stand-in, until the test ends.
func (p *project) redshift() *sql.DB {
	p.t.Helper()
	db, err := sql.Open("postgres", "postgres://postgres:localsecret@"+p.redshiftAddr+"/postgres?sslmode=disable")
	p.must(err)
	p.t.Cleanup(func() { _ = db.Close() })
	return db
}

// intoTable has the address as compose.yaml's comment gives it to users. Each table has a prefix in the bucket "staging".
func intoTable(table string) *types.RedshiftDestinationConfiguration {
	role := aws.String("arn:aws:iam::000000000000:role/local")
	return &types.RedshiftDestinationConfiguration{
		ClusterJDBCURL: aws.String("jdbc:postgresql://redshift-standin:5439/postgres?sslmode=disable"), RoleARN: role,
		Username: aws.String("postgres"), Password: aws.String("localsecret"),
		CopyCommand: &types.CopyCommand{DataTableName: &table, CopyOptions: aws.String("JSON 'auto'")},
		S3Configuration: &types.S3DestinationConfiguration{
			RoleARN: role, BucketARN: aws.String("arn:aws:s3:::" + staging), Prefix: aws.String(table + "/"),
			BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
		},
	}
}
