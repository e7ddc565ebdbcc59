package natspage_test

import (
	"strings"
	"testing"

	"hydrant/e2e/internal/natspage"
)

// printed has each kind of line that the CLI prints.
const printed = `09:20:08 Subscribing to subject records.clicks.0 from last received message
[#1] Received JetStream message: stream: RECORDS_clicks_0_arkbjo4ygysezbmx seq: 2 / pending: 0 / subject: records.clicks.0 / time: 2026-11-27 09:20:01
Nats-Msg-Id: 7qMm3URBw0e5TQnyQ5NYX2PX
Hydrant-Lengths: 6,11

GET /basket

│ Consumer                       │ Mode │ Ack Policy │ Ack Wait │ Ack Pending │ Redelivered │ Unprocessed │ Ack Floor │
├────────────────────────────────┼──────┼────────────┼──────────┼─────────────┼─────────────┼─────────────┼───────────┤
│ s3sink_orders_nlncneih6jxirtof │ Pull │ Explicit   │ 30.00s   │ 2           │ 2           │ 1 / 16%     │ 41        │

│ RECORDS_archive_0_bqx2o4n5ipimpxrv │ File │ 1 │ 5 │ 1.1 MiB │

│ errors.orders.S3Delivery │ 9 │
│ deliveries.s3.clicks     │ 2 │

│ visits │ 2026-11-27 09:20:03 │     0 │       10 │ {"format":1,"stream":"visits","first_failure":"2026-11-27T09:20:04.879754817Z","attempts":6,"progress":"e30="} │

Item: ERRORS#8 received 2026-11-27 09:21:36.200458488 +0000 UTC (620ms) on Subject errors.orders.S3Delivery

{"errorCode":"S3.NoSuchBucket","detail":"s3://b/2026/11/27/09/orders-1-2026-11-27-09-20-02-9b677f0f-3c7c-8796-8c06-e265b605ea28: dial tcp 127.0.0.1:3282: RequestID: 7A6A1NVZM, HostID: 0wuX+y/2=, api error","requestId":"7A6A1NVZM","hostId":"0wuX+y/2=","batch":"nlncneih6jxirtof.s3.0.2-2","attempt":2,"records":1}`

// What differs with each run makes no difference.
func TestSameButForTheRun(t *testing.T) {
	for name, swap := range map[string][2]string{
		"time of the CLI":    {"09:20:08 Sub", "23:59:59 Sub"},
		"time of a message":  {"2026-11-27 09:20:01", "2027-01-02 03:04:05"},
		"time in JSON":       {"2026-11-27T09:20:04.879754817Z", "2026-11-27T09:20:04Z"},
		"object":             {"2026/11/27/09/orders-1-2026-11-27-09-20-02-9b677f0f-", "2026/12/01/10/orders-1-2026-12-01-10-20-02-00000000-"},
		"id":                 {"arkbjo4ygysezbmx", "aaaaaaaaaaaaaaaa"},
		"hash":               {"7qMm3URBw0e5TQnyQ5NYX2PX", "-_"},
		"order of headers":   {"Nats-Msg-Id: 7qMm3URBw0e5TQnyQ5NYX2PX\nHydrant-Lengths: 6,11", "Hydrant-Lengths: 6,11\nNats-Msg-Id: 7qMm3URBw0e5TQnyQ5NYX2PX"},
		"floor":              {"│ 41        │", "│ 7         │"},
		"size":               {"1.1 MiB", "946 B"},
		"width":              {"│ errors.orders.S3Delivery │ 9 │", "│ errors.orders.S3Delivery     │ 1234 │"},
		"line of a table":    {"┼──────┼", "┼─┼"},
		"revision":           {"       10 │ {", " 123456 │ {"},
		"attempts":           {`"attempts":6`, `"attempts":11`},
		"progress":           {`"e30="`, `"eyJhIjoxfQ=="`},
		"entry":              {"ERRORS#8 received 2026-11-27 09:21:36.200458488 +0000 UTC (620ms)", "ERRORS#10 received 2026-11-27 09:21:36.2 +0000 UTC (1.88s)"},
		"address":            {"127.0.0.1:3282", "127.0.0.1:44444"},
		"request":            {"7A6A1NVZM", "1G0ONSNM7L"},
		"host":               {"0wuX+y/2=", "eEPP+B/K1WH0="},
		"batch that failed":  {`.s3.0.2-2","attempt":2`, `.s3.0.1-1","attempt":3`},
		"what was left out":  {`"records":1}`, `"suppressed":4,"records":1}`},
		"nothing whatsoever": {"", ""},
	} {
		other := strings.ReplaceAll(printed, swap[0], swap[1])
		if other == printed && swap[0] != "" {
			t.Errorf("%s: %q is not there", name, swap[0])
		}
		if diff := natspage.Diff(printed, other); diff != "" {
			t.Errorf("%s makes a difference\n%s", name, diff)
		}
	}
}

// What the page would tell wrongly is found, whichever of the two changed.
func TestDifferent(t *testing.T) {
	for name, swap := range map[string][2]string{
		"subject":         {"records.clicks.0 from", "record.clicks.0 from"},
		"stream":          {"RECORDS_clicks_0", "RECORDS_clicks"},
		"sequence":        {"seq: 2 /", "seq: 3 /"},
		"header":          {"Hydrant-Lengths", "Lengths"},
		"lengths":         {"6,11", "6,12"},
		"payload":         {"GET /basket", "GET /baskets"},
		"consumer":        {"s3sink_orders", "sink_orders"},
		"column":          {"Ack Pending │", "Pending     │"},
		"pending":         {"│ 2           │ 2           │ 1 / 16%", "│ 3           │ 2           │ 1 / 16%"},
		"unprocessed":     {"│ 1 / 16%", "│ 0      "},
		"count":           {"deliveries.s3.clicks     │ 2", "deliveries.s3.clicks     │ 3"},
		"a line less":     {"│ deliveries.s3.clicks     │ 2 │\n", ""},
		"a line more":     {"GET /basket", "GET /basket\n\nGET /"},
		"the same twice":  {"GET /basket", "GET /basket\nGET /basket"},
		"other paragraph": {"6,11\n\nGET", "6,11\nGET"},
		"field":           {`"first_failure"`, `"since"`},
		"field less":      {`"stream":"visits",`, ""},
		"code":            {"S3.NoSuchBucket", "S3.AccessDenied"},
		"format":          {`"format":1`, `"format":2`},
		"name of object":  {"/orders-1-2026", "/orders-2026"},
	} {
		other := strings.Replace(printed, swap[0], swap[1], 1)
		if other == printed {
			t.Errorf("%s: %q is not there", name, swap[0])
		}
		if natspage.Diff(printed, other) == "" || natspage.Diff(other, printed) == "" {
			t.Errorf("%s makes no difference", name)
		}
	}
}
