package s3sink

import (
	"bytes"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hydrant/shared/batch"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/s3test"
)

// python is an interpreter that has what tests use of Python. Where tests have to be whole it is needed; elsewhere those
// that use it are left out.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HYDRANT_TEST_PYTHON")
	switch {
	case path != "":
		return path
	case os.Getenv("CI") == "true":
		t.Fatal("HYDRANT_TEST_PYTHON is not set: run by make test, which sets it")
	}
	t.Skip("HYDRANT_TEST_PYTHON names no Python with the packages of e2e/clients/requirements.txt; make test sets it")
	return ""
}

// moto is moto's server: S3 that knows encryption with KMS keys, IAM and STS.
type moto struct {
	t   *testing.T
	url string
}

func startMoto(t *testing.T) *moto {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	check(t, err)
	check(t, free.Close())
	var output bytes.Buffer
	cmd := exec.Command(python(t), "-m", "moto.server", "-H", "127.0.0.1", "-p", port) //nolint:gosec // the interpreter is the tester's
	cmd.Stdout, cmd.Stderr = &output, &output
	check(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	m := &moto{t: t, url: "http://127.0.0.1:" + port}
	natstest.WaitFor(t, "moto answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("moto ended: %s", output.String())
		default:
		}
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return m
}

// reached is the setting to use it.
func (m *moto) reached(c *Config) {
	ownParts(c)
	c.S3Endpoint, c.STSEndpoint = m.url, m.url
}

func (m *moto) s3() *s3.Client {
	m.t.Helper()
	return s3test.Client(m.t, m.url)
}

// iam carries out an operation of IAM and returns its answer. Moto reads from the signature which service is meant.
func (m *moto) iam(operation string, parameters map[string]string) []byte {
	m.t.Helper()
	form := url.Values{"Action": {operation}, "Version": {"2010-05-08"}}
	for name, value := range parameters {
		form.Set(name, value)
	}
	return m.post("/", "application/x-www-form-urlencoded", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=00", form.Encode())
}

// enforce makes it check permissions from now on.
func (m *moto) enforce() { m.t.Helper(); m.post("/moto-api/reset-auth", "text/plain", "", "0") }

func (m *moto) post(path, contentType, authorization, body string) []byte {
	m.t.Helper()
	request, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url+path, strings.NewReader(body))
	check(m.t, err)
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Authorization", authorization)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	check(m.t, err)
	answer, err := io.ReadAll(response.Body)
	check(m.t, err)
	check(m.t, response.Body.Close())
	if response.StatusCode != http.StatusOK {
		m.t.Fatalf("moto answered %s with %d: %s", path, response.StatusCode, answer)
	}
	return answer
}

// TestMotoKMS delivers to a server that knows encryption with KMS keys, and asks it with which key the object is encrypted.
func TestMotoKMS(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	direct := m.s3()
	_, err := direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("data")})
	check(t, err)
	for name, size := range map[string]int{"single put": 1000, "multipart": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo", as(accountA, roleA), encryptedWith(kmsKey))
			s.fill(size)
			destination := r.destination(m.reached, func(c *Config) { c.S3ACL = "always" })
			for number := range 2 {
				a := s.attempt(s.batch())
				a.Number = number + 1
				result, err := destination.Deliver(t.Context(), a)
				check(t, err)
				if result.Warning != nil {
					t.Errorf("a warning: %v", result.Warning)
				}
				bucket, key, _ := strings.Cut(strings.TrimPrefix(result.Location, "s3://"), "/")
				object, err := direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
				check(t, err)
				wantEqual(t, "the encryption", object.ServerSideEncryption, types.ServerSideEncryptionAwsKms)
				wantEqual(t, "the key", aws.ToString(object.SSEKMSKeyId), kmsKey)
				wantEqual(t, "the size", aws.ToInt64(object.ContentLength), result.Bytes)
			}
		})
	}
}

// TestMotoRoles delivers with a role that may write one bucket, by a user who may do nothing but assume it.
func TestMotoRoles(t *testing.T) {
	t.Parallel()
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	m := startMoto(t)
	direct := m.s3()
	for _, bucket := range []string{"data", "closed"} {
		_, err := direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		check(t, err)
	}
	m.iam("CreateRole", map[string]string{"RoleName": "writer", "AssumeRolePolicyDocument": trust})
	m.iam("PutRolePolicy", map[string]string{"RoleName": "writer", "PolicyName": "p", "PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::data","arn:aws:s3:::data/*"]}]}`})
	m.iam("CreateUser", map[string]string{"UserName": "sink"})
	m.iam("PutUserPolicy", map[string]string{"UserName": "sink", "PolicyName": "p", "PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`})
	var made struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	check(t, xml.Unmarshal(m.iam("CreateAccessKey", map[string]string{"UserName": "sink"}), &made))
	m.enforce()

	writer := as("123456789012", "arn:aws:iam::123456789012:role/writer")
	sink := func(c *Config) {
		m.reached(c)
		c.S3AccessKeyID, c.S3SecretAccessKey = made.ID, made.Secret
	}
	tests := []struct {
		name    string
		options []option
		setting func(*Config)
		code    string // of the failure, "" if it is delivered
	}{
		{"by the role", []option{writer}, sink, ""},
		{"a bucket that the role may not write", []option{toBucket("closed"), writer}, sink, objectstore.CodeAccessDenied},
		{"without the role", []option{writer}, func(c *Config) { sink(c); c.STSEndpoint = "" }, objectstore.CodeAccessDenied},
		{"with keys that nobody has", []option{writer}, func(c *Config) { sink(c); c.S3AccessKeyID = "AKIANOBODY" }, objectstore.CodeAccessDenied},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.start(tt.setting)
			s := r.stream("demo", append(tt.options, logged, prefixed(itoa(i)+"/"))...)
			s.put([]byte("a record\n"))
			d := s.hand(s.batch())
			if tt.code == "" {
				wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
				return
			}
			wantEqual(t, "the code", s.logEntry().ErrorCode, tt.code)
		})
	}
}

// TestMotoNoBucket is the error of the guide's list that moto's server gives of itself.
func TestMotoNoBucket(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	for name, size := range map[string]int{"single put": 1000, "multipart": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start(m.reached)
			s := r.stream("demo", as(accountA, roleA), logged)
			s.fill(size)
			s.hand(s.batch())
			wantEqual(t, "the code", s.logEntry().ErrorCode, objectstore.CodeNoSuchBucket)
		})
	}
}
