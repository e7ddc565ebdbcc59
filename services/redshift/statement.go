package redshift

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/batch"
)

// copyOf is a COPY, without what makes it one of several statements.
type copyOf struct {
	Table    string // as the owner of the delivery stream wrote them
	Columns  string
	Options  string
	Manifest string // s3://bucket/key
	As       aws.Credentials
}

// text is the statement. The options are the owner's, untouched; everything else is quoted.
func (c copyOf) text() (string, error) {
	table, err := quotedTable(c.Table)
	if err != nil {
		return "", err
	}
	columns, err := quotedColumns(c.Columns)
	if err != nil {
		return "", err
	}
	has, err := readOptions(c.Options)
	if err != nil {
		return "", err
	}
	manifest, err := literal(c.Manifest)
	if err != nil {
		return "", err
	}
	words := []string{"COPY", table}
	if columns != "" {
		words = append(words, "("+columns+")")
	}
	words = append(words, "FROM", manifest)
	if !has.credentials {
		as, err := credentials(c.As)
		if err != nil {
			return "", err
		}
		words = append(words, "CREDENTIALS", as)
	}
	if !has.manifest {
		words = append(words, "MANIFEST")
	}
	return strings.TrimSpace(strings.Join(append(words, c.Options), " ")), nil
}

// credentials are in the form that every version of Redshift reads.
func credentials(as aws.Credentials) (string, error) {
	text := "aws_access_key_id=" + as.AccessKeyID + ";aws_secret_access_key=" + as.SecretAccessKey
	if as.SessionToken != "" {
		text += ";token=" + as.SessionToken
	}
	quoted, err := literal(text)
	if err != nil {
		return "", errors.New("the credentials for S3 hold a character that a statement cannot")
	}
	return quoted, nil
}

var errBackslash = errors.New("a backslash or a control character, which PostgreSQL and Redshift read differently, cannot be in it")

// literal is text as a string constant. Redshift takes a backslash for an escape and PostgreSQL does not, so that there is no
// form of one that both read alike.
func literal(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%.100q: %w", text, errBackslash)
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'", nil
}

// batchList is ids as a list of constants.
func batchList(ids []batch.ID) (string, error) {
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		quoted, err := literal(string(id))
		if err != nil {
			return "", err
		}
		list = append(list, quoted)
	}
	return strings.Join(list, ", "), nil
}
