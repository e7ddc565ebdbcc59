package objectstore

import "github.com/aws/aws-sdk-go-v2/aws"

// Credentials are those that an object is written with, for requests of the same delivery stream to other servers of AWS. An
// error of theirs is for Refused to judge. Nothing is asked of STS before they are retrieved.
type Credentials struct {
	aws.CredentialsProvider
	drop func(aws.Credentials)
}

// Drop says that a server does not know credentials any more, or takes them for ended: the next request gets others.
func (c Credentials) Drop(refused aws.Credentials) { c.drop(refused) }

// Credentials returns those of an object.
func (s *Store) Credentials(of Object) Credentials {
	if role := s.clients.of(roleOf(of)); role != nil {
		return Credentials{role.credentials, role.credentials.dropThese}
	}
	own := s.clients.credentials
	return Credentials{own, func(aws.Credentials) {
		if cache, ok := own.(interface{ Invalidate() }); ok {
			cache.Invalidate()
		}
	}}
}
