package es

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Clusters are where clusters are that delivery streams name by a DomainARN, and whom the service is to all of them.
type Clusters struct {
	ESEndpoints map[string]string `name:"es-endpoints" help:"Addresses of the clusters that delivery streams name by a DomainARN, as ARN=https://host:port, separated by semicolons."`
	ESHosts     []string          `name:"es-hosts" help:"Hosts, as in the address of a cluster, with its port if that has one, separated by commas: to them, and to those of --es-endpoints, user and password or API key are sent. Clusters that a delivery stream names by another ClusterEndpoint are asked without."`
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
	for _, host := range c.ESHosts {
		if u, err := url.Parse("//" + host); err != nil || u.Host != host || u.Hostname() == "" {
			return errors.New("--es-hosts (HYDRANT_ES_HOSTS): not a list of hosts; use the host of each cluster's address, with its port if that has one, such as search.example.com or 10.0.0.7:9200, separated by commas")
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

// knows tells whether the operator has named a cluster's address. Whoever may create delivery streams may name any other, and
// would be told the password there.
func (c Clusters) knows(address *url.URL) bool {
	same := func(host string) bool { return strings.EqualFold(host, address.Host) }
	for _, endpoint := range c.ESEndpoints {
		if u, err := url.Parse(endpoint); err == nil && u.Scheme == address.Scheme && same(u.Host) {
			return true
		}
	}
	return slices.ContainsFunc(c.ESHosts, same)
}
