package objectstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hydrant/shared/delivery"
)

// encryption is what a write asks of the store: to encrypt with the delivery stream's key, or nothing.
func (u *upload) encryption() (types.ServerSideEncryption, *string) {
	if u.to.KMS == "" {
		return "", nil
	}
	return types.ServerSideEncryptionAwsKms, aws.String(u.to.KMS)
}

// encrypted tells whether an answer about a target says what it has to: that the store encrypts with a KMS key where it
// was given one.
func encrypted(at Object, said types.ServerSideEncryption) bool {
	return at.KMS == "" || strings.HasPrefix(string(said), string(types.ServerSideEncryptionAwsKms))
}

// Warning tells of an object that is in the store and not encrypted as it should be: once for each delivery stream in a
// bucket, otherwise it is nil. A store that does not know the headers of encryption passes over them, and by the time that
// its answer shows it the object is there; it is not deleted, because it is the delivery.
func (s *Store) Warning(at Object, found *Found) *delivery.Error {
	if !found.Plain || !s.plain.note(at.Bucket+" "+string(at.Stream)) {
		return nil
	}
	return &delivery.Error{
		Class: delivery.Permanent, Code: CodeKMSNotFound,
		Message: "Objects are delivered and, by the S3 server's answer, not encrypted with the KMS key of the delivery stream. Use an S3 server that knows encryption with KMS keys, or change the delivery stream to no encryption.",
		Err:     fmt.Errorf("%s: %w", at, errNotEncrypted),
	}
}

var errNotEncrypted = errors.New("written with a KMS key, and answered without x-amz-server-side-encryption: aws:kms")

// withACL makes a write that gives the bucket's owner all rights on the object where that is wanted, and is repeated
// without where the store knows no ACLs or the bucket takes none. The repeat is the same request to the same name, under
// the same condition; that it was refused before means that nothing was written.
func (u *upload) withACL(write func(types.ObjectCannedACL) error) func() error {
	return func() error {
		if !u.wantsACL() {
			return write("")
		}
		err := write(types.ObjectCannedACLBucketOwnerFullControl)
		if !refusesACL(err) {
			return err
		}
		err = write("")
		if err == nil && u.acls.note(u.to.Bucket) {
			u.Store.log.Warn("the bucket takes no ACLs: objects are written without bucket-owner-full-control", "bucket", u.to.Bucket)
		}
		return err
	}
}

// wantsACL tells whether the object may end up in a bucket of another account than the one that writes it. A bucket's ARN
// does not say whose it is, so that auto goes by the accounts that are known: the delivery stream's and its role's.
func (u *upload) wantsACL() bool {
	if u.acls.refusedBy(u.to.Bucket) {
		return false
	}
	mine, other := account(u.to.ARN), account(u.to.Role)
	return u.cfg.S3ACL == aclAlways || u.cfg.S3ACL == aclAuto && known(mine) && known(other) && mine != other
}

// known tells a real account from the one of zeros that delivery streams have where nobody set another.
func known(account string) bool { return strings.Trim(account, "0") != "" }
