package redshiftstandin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/klauspost/compress/gzip"
)

// maxFile is how long a manifest and a jsonpaths file may be.
const maxFile = 16 << 20

// S3 says where objects are, and whose credentials a COPY with an IAM_ROLE uses. The credentials of any other COPY are in it.
type S3 struct {
	Endpoint        string `name:"s3-endpoint" placeholder:"URL" help:"S3 server, such as http://127.0.0.1:9000; AWS if empty."`
	Region          string `name:"s3-region" default:"us-east-1" help:"Region of a COPY that names none."`
	AccessKeyID     string `name:"s3-access-key-id" help:"Access key of a COPY with an IAM_ROLE; without, such a COPY is refused."`
	SecretAccessKey string `name:"s3-secret-access-key" secret:"" placeholder:"KEY" help:"Its secret key."`
}

// object is one that a COPY loads.
type object struct {
	location
	mandatory bool
	listed    bool // it was there a moment ago
}

// objects reads what a COPY loads.
type objects struct {
	client *s3.Client
	copy   *copyStatement
	query  int64
}

// newObjects returns the objects of a COPY, with its credentials.
func newObjects(config S3, transport http.RoundTripper, c *copyStatement, query int64) (*objects, *dbError) {
	key, secret, token := c.credentials.accessKey, c.credentials.secretKey, c.credentials.token
	if c.credentials.role != "" {
		key, secret, token = config.AccessKeyID, config.SecretAccessKey, ""
	}
	if key == "" {
		return nil, loadError(query, detailRole, "", "Not authorized to get credentials of role %s", c.credentials.role)
	}
	options := s3.Options{
		Region: config.Region, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: sdkcredentials.NewStaticCredentialsProvider(key, secret, token),

		DisableLogOutputChecksumValidationSkipped: true,
	}
	if c.region != "" {
		options.Region = c.region
	}
	if config.Endpoint != "" {
		options.BaseEndpoint = &config.Endpoint
	}
	return &objects{s3.New(options), c, query}, nil
}

// list is what to load: what the manifest names, or all under the prefix.
func (o *objects) list(ctx context.Context) ([]object, *dbError) {
	if o.copy.manifest {
		return o.manifest(ctx)
	}
	source := o.copy.source
	pages := s3.NewListObjectsV2Paginator(o.client, &s3.ListObjectsV2Input{Bucket: &source.bucket, Prefix: &source.key})
	var found []object
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, o.failure(ctx, err, "", "Listing bucket="+source.bucket+" prefix="+source.key)
		}
		for _, content := range page.Contents {
			found = append(found, object{location{source.bucket, aws.ToString(content.Key)}, true, true})
		}
	}
	if len(found) == 0 {
		return nil, loadError(o.query, detailLoad, "", "The specified S3 prefix '%s' does not exist", source.key)
	}
	return found, nil
}

// manifest reads which objects the manifest names.
func (o *objects) manifest(ctx context.Context) ([]object, *dbError) {
	file, failure := o.file(ctx, o.copy.source, "Problem reading manifest file - ")
	if failure != nil {
		return nil, failure
	}
	found, err := parseManifest(file)
	if err != nil {
		return nil, loadError(o.query, detailLoad, "Manifest file location = "+o.copy.source.String(), "%s", err.Error())
	}
	return found, nil
}

// parseManifest reads {"entries": [{"url": "s3://bucket/key", "mandatory": true}]}. Its errors are in Redshift's words.
func parseManifest(file []byte) ([]object, error) {
	if !json.Valid(file) {
		return nil, errors.New("Manifest file is not in correct json format") //nolint:staticcheck,revive // Redshift's words
	}
	var root struct {
		Entries []struct {
			URL       *string `json:"url"`
			Mandatory bool    `json:"mandatory"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(file, &root); err != nil || len(root.Entries) == 0 {
		return nil, errors.New("Root must be a json object in the manifest file") //nolint:staticcheck,revive // Redshift's words
	}
	var found []object
	for _, e := range root.Entries {
		if e.URL == nil {
			//nolint:staticcheck,revive // Redshift's words
			return nil, errors.New("Manifest file is not in expected format - 'url' field missing. " +
				"Please check the user documentation for the correct format of manifest file during copy command.")
		}
		at, ok := parseLocation(*e.URL)
		if !ok || at.key == "" {
			return nil, fmt.Errorf("COPY with MANIFEST parameter requires full path of an S3 object: %s", *e.URL)
		}
		found = append(found, object{location: at, mandatory: e.Mandatory})
	}
	return found, nil
}

// jsonPaths reads the paths that the statement names, if it names any.
func (o *objects) jsonPaths(ctx context.Context) ([]jsonPath, *dbError) {
	at, named := parseLocation(o.copy.json)
	if o.copy.format != formatJSON || !named {
		return nil, nil
	}
	file, failure := o.file(ctx, at, "")
	if failure != nil {
		return nil, failure
	}
	paths, err := parseJSONPaths(file)
	if err != nil {
		return nil, loadError(o.query, detailLoad, at.String(), "Invalid JSONPath format: %s", err.Error())
	}
	return paths, nil
}

// file reads a whole one.
func (o *objects) file(ctx context.Context, at location, prefix string) ([]byte, *dbError) {
	got, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &at.bucket, Key: &at.key})
	if err != nil {
		return nil, o.failure(ctx, err, prefix, "S3 key being read : "+at.String())
	}
	defer func() { _ = got.Body.Close() }()
	file, err := io.ReadAll(io.LimitReader(got.Body, maxFile+1))
	switch {
	case err != nil:
		return nil, o.failure(ctx, err, prefix, "S3 key being read : "+at.String())
	case len(file) > maxFile:
		return nil, loadError(o.query, detailLoad, at.String(), "%sFile is larger than %d bytes", prefix, maxFile)
	}
	return file, nil
}

// open reads an object, inflated if it is compressed. It is nil if the object is not there and need not be.
func (o *objects) open(ctx context.Context, from object) (io.ReadCloser, *dbError) {
	got, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &from.bucket, Key: &from.key})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchKey" && !from.listed {
		if from.mandatory {
			return nil, loadError(o.query, detailLoad, from.String(), "Mandatory url is not present in manifest file.")
		}
		return nil, nil
	}
	if err != nil {
		return nil, o.failure(ctx, err, "", "S3 key being read : "+from.String())
	}
	if !o.copy.gzip {
		return got.Body, nil
	}
	inflated, err := gzip.NewReader(got.Body)
	if err != nil {
		_ = got.Body.Close()
		return nil, o.broken(ctx, err, from)
	}
	return &inflatedBody{inflated, got.Body}, nil
}

// inflatedBody closes both.
type inflatedBody struct {
	*gzip.Reader
	body io.Closer
}

// Close implements io.Closer.
func (b *inflatedBody) Close() error { return errors.Join(b.Reader.Close(), b.body.Close()) }

// broken is what a client is told when an object could not be read to its end.
func (o *objects) broken(ctx context.Context, err error, from object) *dbError {
	context := "S3 key being read : " + from.String()
	var api smithy.APIError
	// A gzip member that ends too soon and a connection that does look alike, but the SDK wraps the latter.
	if o.copy.gzip && (errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.As(err, &api) {
		return loadError(o.query, detailZlib, context, "Failed to inflateincorrect header check. zlib error code: -3")
	}
	return o.failure(ctx, err, "", context)
}

// failure is what Redshift says when S3 refuses or does not answer.
func (o *objects) failure(ctx context.Context, err error, prefix, where string) *dbError {
	if ctx.Err() != nil {
		return failed(codeCanceled, "Query (%d) cancelled on user's request", o.query)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return loadError(o.query, detailLoad, where, "%sS3CurlException: %s,CurlError 56,multiCurlError 0,CanRetry 1,UserError 0", prefix, err.Error())
	}
	var status, id, host = 0, "", ""
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status, id = response.HTTPStatusCode(), response.ServiceRequestID()
	}
	var extended interface{ ServiceHostID() string }
	if errors.As(err, &extended) {
		host = extended.ServiceHostID()
	}
	return loadError(o.query, detailLoad, where, "%sS3ServiceException:%s,Status %d,Error %s,Rid %s,ExtRid %s,CanRetry 1",
		prefix, api.ErrorMessage(), status, api.ErrorCode(), id, host)
}
