package es

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Clusters are where clusters are that delivery streams name by a DomainARN, and whom the service is to all of them.
type Clusters struct {
	ESEndpoints map[string]string `name:"es-endpoints" help:"Addresses of the clusters that delivery streams name by a DomainARN, as ARN=https://host:port, separated by semicolons."`
	ESUsername  string            `name:"es-username" help:"User that clusters are written to as (basic authentication)."`
	ESPassword  string            `name:"es-password" secret:"" help:"Password of the user."`
	ESAPIKey    string            `name:"es-api-key" secret:"" help:"API key that clusters are written to with, in its encoded form, instead of user and password."`
	ESCAFile    string            `name:"es-ca-file" help:"File with the certificates, in PEM, of who signed those of the clusters. Empty means the system's."`
}

// Validate finds wrong values and contradictions.
func (c Clusters) Validate() error {
	for arn, address := range c.ESEndpoints {
		if err := checkEndpoint(arn, address); err != nil {
			return err
		}
	}
	switch {
	case (c.ESUsername == "") != (c.ESPassword == ""):
		return errors.New("--es-username and --es-password (HYDRANT_ES_USERNAME, HYDRANT_ES_PASSWORD): one is set without the other; set both or neither")
	case c.ESUsername != "" && c.ESAPIKey != "":
		return errors.New("--es-api-key (HYDRANT_ES_API_KEY): set beside --es-username; set one of them")
	}
	return nil
}

// checkEndpoint does not repeat an address that may have a password in it.
func checkEndpoint(arn, address string) error {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":domain/") {
		return fmt.Errorf("--es-endpoints (HYDRANT_ES_ENDPOINTS): %q is not accepted; use the ARN of a domain before the =", arn)
	}
	if u, err := url.Parse(address); err != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--es-endpoints (HYDRANT_ES_ENDPOINTS): the address of %s is not accepted; use http:// or https:// with a host and a port, and no user", arn)
	}
	return nil
}
