package objectstore

import "github.com/aws/aws-sdk-go-v2/aws"

// Credentials are those that an object is written with, for requests of the same delivery stream to other servers of AWS. An
// error of theirs is for Refused to judge. Nothing is asked of STS before they are retrieved.
func (s *Store) Credentials(of Object) aws.CredentialsProvider {
	return s.client(of).Options().Credentials
}
