package redshift

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/lib/pq"

	"hydrant/shared/jdbcurl"
)

// checkAuthorities finds a --redshift-ca that cannot be used before anything is connected to.
func (c Config) checkAuthorities() error {
	if c.RedshiftCA == "" {
		return nil
	}
	pem, err := os.ReadFile(c.RedshiftCA)
	if err != nil {
		return fmt.Errorf("--redshift-ca (HYDRANT_REDSHIFT_CA): %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("--redshift-ca (HYDRANT_REDSHIFT_CA): %q has no certificate in PEM", c.RedshiftCA)
	}
	return nil
}

// encryption is how the client is told what a JDBC URL asks for, and which authorities it trusts. With authorities of the operator's,
// "require" is told as "verify-ca": the client means the same by it as long as the file is there, and would connect to anybody where
// it is not any more. Without, "verify-full" trusts the system's, and no file of a home directory.
func (c Config) encryption(asked jdbcurl.SSLMode) (mode pq.SSLMode, authorities string) {
	switch {
	case asked == jdbcurl.Require && c.RedshiftCA != "":
		return pq.SSLModeVerifyCA, c.RedshiftCA
	case asked == jdbcurl.VerifyFull && c.RedshiftCA == "":
		return pq.SSLModeVerifyFull, "system"
	}
	return pq.SSLMode(asked), c.RedshiftCA
}
