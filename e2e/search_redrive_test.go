package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/record"
)

// redriveSearch runs `hydrant redrive` beside services that are programs of their own, and returns its report. It fails where something
// is left.
func redriveSearch(t *testing.T, d *deploy.Deployment, stream string, args ...string) redriven {
	t.Helper()
	command := exec.CommandContext(t.Context(), programs.Path("hydrant"), append([]string{"redrive", stream, "--json", "--nats-url", d.NATS}, args...)...)
	command.Env = append(os.Environ(), "HYDRANT_S3_ENDPOINT="+d.S3, "HYDRANT_S3_PATH_STYLE=true",
		"HYDRANT_S3_ACCESS_KEY_ID=local", "HYDRANT_S3_SECRET_ACCESS_KEY=localsecret")
	var told strings.Builder
	command.Stderr = &told
	out, failed := command.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var last struct{ Report redriven }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("hydrant redrive printed %q, and told %q: %v", out, told.String(), err)
	}
	if (failed != nil) != (last.Report.Left > 0) {
		t.Errorf("%d documents are left, and it ended with %v: %s", last.Report.Left, failed, told.String())
	}
	return last.Report
}

// redrivenDocuments has documents set aside since they do not fit the index's mapping. Its owner removes the index, and the documents are
// indexed from the file, each once, with the type that they were for.
func redrivenDocuments(t *testing.T, d *deploy.Deployment, node *esnode.Node, name string) {
	createStream(t, d, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, ElasticsearchDestinationConfiguration: elasticsearchTo(node.URL, name, "line")})
	client := node.Client()
	wantIndexed(t, client, name, putAll(t, d, name, numbered(0, 5, 10))) // now n is a number
	bad := make([]string, 100)
	for i := range bad {
		bad[i] = fmt.Sprintf(`{"n":"no number %d"}`, i)
	}
	ids := putAll(t, d, name, bad)
	wantSetAside(t, d, name, ids, bad)
	must(t, client.DeleteIndex(t.Context(), name))

	folder := name + "/elasticsearch-failed/"
	files := d.Objects(setAside, folder)
	if r := redriveSearch(t, d, name, "--dry-run"); r.Items != len(files) || r.Records != len(bad) {
		t.Errorf("a dry run finds %+v in %d files", r, len(files))
	}
	if n, err := client.Count(t.Context(), name+"*"); n != 0 || err != nil {
		t.Errorf("there are %d documents after a dry run: %v", n, err)
	}
	if r := redriveSearch(t, d, name); r.Delivered != len(bad) || r.Already != 0 || r.Left != 0 || r.Done != len(files) {
		t.Errorf("the report is %+v", r)
	}
	wantIndexed(t, client, name, ids)
	wantType(t, node, name)
	if r := redriveSearch(t, d, name); r.Items != 0 {
		t.Errorf("a second run finds %+v", r)
	}

	// As after a redrive that was killed before it moved its files.
	for _, o := range files {
		putBack(t, d, o.Key, string(o.Body), o.Metadata)
	}
	if r := redriveSearch(t, d, name); r.Already != len(bad) || r.Delivered != 0 || r.Left != 0 {
		t.Errorf("of documents that are there, the report is %+v", r)
	}
	wantWrittenOnce(t, client, name, len(bad))
	wantNothingSetAside(t, d, name)
}

// wantWrittenOnce checks that an index has n documents, each as it was created.
func wantWrittenOnce(t *testing.T, client *esnode.Client, pattern string, n int) {
	t.Helper()
	found := 0
	for document, err := range client.Documents(t.Context(), pattern) {
		must(t, err)
		found++
		if document.Version != 1 {
			t.Errorf("%s was written %d times", document.ID, document.Version)
		}
	}
	if found != n {
		t.Errorf("%d documents are in %s, want %d", found, pattern, n)
	}
}

func putBack(t *testing.T, d *deploy.Deployment, key, content string, metadata map[string]string) {
	t.Helper()
	bucket := setAside
	_, err := d.S3Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content), Metadata: metadata})
	must(t, err)
}

// rolledOver has a document set aside whose answer was lost, so that it is in a data stream after all, which then goes on in another
// index. There a second document with its id could be created; a redrive finds the first. What the data stream does not take is left.
func rolledOver(t *testing.T, d *deploy.Deployment, node *esnode.Node, stream, id, data string) {
	client := node.Client()
	before, err := client.Count(t.Context(), stream)
	must(t, err)
	must(t, client.Do(t.Context(), http.MethodPost, "/"+stream+"/_rollover", nil, nil))
	line, err := json.Marshal(map[string]any{
		"attemptsMade": 1, "arrivalTimestamp": 1, "errorCode": "ES.ConnectionFailed", "errorMessage": "no answer", "attemptEndingTimestamp": 2,
		"esDocumentId": id, "esIndexName": stream, "esTypeName": "", "rawData": []byte(data),
	})
	must(t, err)
	of, err := record.ParseID(id)
	must(t, err)
	putBack(t, d, stream+"/elasticsearch-failed/"+stream+"-1-lost", string(line)+"\n", map[string]string{
		"hydrant-batch": fmt.Sprintf("%s.es.0.%d-%d", of.Stream, of.Sequence, of.Sequence), "hydrant-records": "1",
	})
	if r := redriveSearch(t, d, stream); r.Already != 1 || r.Delivered != 0 || r.Left != 1 || r.Done != 1 || r.Kept != 1 {
		t.Errorf("the report is %+v", r)
	}
	if after, err := client.Count(t.Context(), stream); after != before || err != nil {
		t.Errorf("there are %d documents, and were %d: %v", after, before, err)
	}
}
