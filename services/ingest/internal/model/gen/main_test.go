package main

import (
	"strings"
	"testing"
)

const head = `{"operations":{"Op":{"input":{"shape":"In"},"output":{"shape":"Out"}}},"shapes":{"Out":{"type":"structure","members":{}},`

func TestGenerate(t *testing.T) {
	got, err := generate([]byte(head+`
		"In":{"type":"structure","required":["Z"],"documentation":"text","members":{
			"Z":{"shape":"CompressionFormat"},"A":{"shape":"Keys","documentation":"text"},"M":{"shape":"Mapped"},
			"E":{"shape":"ElasticsearchClusterEndpoint"},"O":{"shape":"OtherEndpoint"}}},
		"ElasticsearchClusterEndpoint":{"type":"string","pattern":"https:.*"},
		"OtherEndpoint":{"type":"string","pattern":"https:.*"},
		"CompressionFormat":{"type":"string","enum":["UNCOMPRESSED","GZIP","ZIP","Snappy","HADOOP_SNAPPY"]},
		"Keys":{"type":"list","member":{"shape":"Key"},"max":3,"min":0},
		"Mapped":{"type":"map","key":{"shape":"Key"},"value":{"shape":"Part"}},
		"Part":{"type":"double","max":0.5},
		"Key":{"type":"string","pattern":"^(?!aws:)a<b*$"}}}`), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
"source": "botocore 1.2.3, botocore/data/firehose/2015-08-04/service-2.json",
"operations": {"Op":"In"},
"shapes": {
  "CompressionFormat": {"type":"string","enum":["ZIP","HADOOP_SNAPPY","Snappy","GZIP","UNCOMPRESSED"]},
  "ElasticsearchClusterEndpoint": {"type":"string","pattern":"https?:.*"},
  "In": {"type":"structure","members":[{"name":"Z","shape":"CompressionFormat","required":true},{"name":"A","shape":"Keys"},{"name":"M","shape":"Mapped"},{"name":"E","shape":"ElasticsearchClusterEndpoint"},{"name":"O","shape":"OtherEndpoint"}]},
  "Key": {"type":"string","pattern":"^(?!aws:)a<b*$","match":"a<b*$","not":"aws:.*"},
  "Keys": {"type":"list","element":"Key","min":0,"max":3},
  "Mapped": {"type":"map","element":"Part","key":"Key"},
  "OtherEndpoint": {"type":"string","pattern":"https:.*"},
  "Part": {"type":"double","max":0.5}
}
}
`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for name, test := range map[string]struct{ shapes, message string }{
		"a pattern that cannot be matched": {`"In":{"type":"string","pattern":"a(?<!b)"}}}`, "In: a pattern that needs a rewrite"},
		"a shape that is missing":          {`"In":{"type":"list","member":{"shape":"No"}}}}`, "there is no shape No"},
		"a value whose place is not known": {`"In":{"type":"structure","members":{"A":{"shape":"CompressionFormat"}}},"CompressionFormat":{"type":"string","enum":["ZSTD"]}}}`, "CompressionFormat has other values"},
		"no JSON":                          {`}`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := generate([]byte(head+test.shapes), "1"); err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got %v", err)
			}
		})
	}
}
