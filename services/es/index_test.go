package es

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

const (
	none  = types.AmazonopensearchserviceIndexRotationPeriodNoRotation
	hour  = types.AmazonopensearchserviceIndexRotationPeriodOneHour
	day   = types.AmazonopensearchserviceIndexRotationPeriodOneDay
	week  = types.AmazonopensearchserviceIndexRotationPeriodOneWeek
	month = types.AmazonopensearchserviceIndexRotationPeriodOneMonth
)

// The first five are the guide's table.
func TestIndexName(t *testing.T) {
	for _, c := range []struct {
		rotation types.AmazonopensearchserviceIndexRotationPeriod
		arrived  string
		want     string
	}{
		{none, "2016-02-25T13:00:00Z", "myindex"},
		{hour, "2016-02-25T13:00:00Z", "myindex-2016-02-25-13"},
		{day, "2016-02-25T13:00:00Z", "myindex-2016-02-25"},
		{week, "2016-02-25T13:00:00Z", "myindex-2016-w08"},
		{month, "2016-02-25T13:00:00Z", "myindex-2016-02"},
		{"", "2016-02-25T13:00:00Z", "myindex"},
		{day, "2016-02-26T01:00:00+02:00", "myindex-2016-02-25"},
		{hour, "2016-02-25T23:59:59.999999999Z", "myindex-2016-02-25-23"},
		{week, "2016-02-28T23:59:59Z", "myindex-2016-w08"},
		{week, "2016-02-29T00:00:00Z", "myindex-2016-w09"},
		{week, "2016-01-03T12:00:00Z", "myindex-2015-w53"},
		{week, "2018-12-31T00:00:00Z", "myindex-2019-w01"},
		{month, "2018-12-31T23:59:59Z", "myindex-2018-12"},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.arrived)
		check(t, err)
		if got := indexName("myindex", c.rotation, at); got != c.want {
			t.Errorf("%s of %s is %s, want %s", c.rotation, c.arrived, got, c.want)
		}
	}
}

// The records of one batch go to the indices of their own arrivals, across midnight and back.
func TestActionAcrossMidnight(t *testing.T) {
	n := naming{index: `my"index`, rotation: hour, ids: true, stream: "abcd", shard: 2}
	midnight := time.Date(2016, 12, 31, 24, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{midnight.Add(-1), `{"create":{"_index":"my\"index-2016-12-31-23","_id":"h1-abcd-2-7-3"}}` + "\n"},
		{midnight, `{"create":{"_index":"my\"index-2017-01-01-00","_id":"h1-abcd-2-7-3"}}` + "\n"},
		{midnight.Add(-time.Hour), `{"create":{"_index":"my\"index-2016-12-31-23","_id":"h1-abcd-2-7-3"}}` + "\n"},
	} {
		line, id := n.appendAction(nil, c.at, 7, 3)
		wantEqual(t, "the line", string(line), c.want)
		wantEqual(t, "the id", string(line[id.from:id.to]), "h1-abcd-2-7-3")
	}
}

func TestActionForms(t *testing.T) {
	at := time.Date(2016, 2, 25, 13, 0, 0, 0, time.UTC)
	typed := naming{index: "i", rotation: none, ids: true, typeName: "t", stream: "s"}
	line, _ := typed.appendAction(nil, at, 1, 0)
	wantEqual(t, "with a type", string(line), `{"create":{"_index":"i","_type":"t","_id":"h1-s-0-1-0"}}`+"\n")
	plain := naming{index: "i", rotation: none, stream: "s"}
	line, id := plain.appendAction(nil, at, 1, 0)
	wantEqual(t, "without an id", string(line), `{"create":{"_index":"i"}}`+"\n")
	wantEqual(t, "where the id is", id, span{})
}
