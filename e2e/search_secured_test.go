package e2e

import (
	"maps"
	"strings"
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
)

// TestSearchSecured has a front with TLS before the node, which lets in whom it knows.
func TestSearchSecured(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.OpenSearch3, esnode.Options{})
	for _, way := range []struct {
		name     string
		accepted esnode.Credentials
		settings map[string]string
	}{
		{"password", esnode.Credentials{User: "writer", Password: "secret"}, map[string]string{"HYDRANT_ES_USERNAME": "writer", "HYDRANT_ES_PASSWORD": "secret"}},
		{"key", esnode.Credentials{APIKey: "aWQ6a2V5"}, map[string]string{"HYDRANT_ES_API_KEY": "aWQ6a2V5"}},
		{
			"signature", esnode.Credentials{Signing: esnode.Signing{AccessKey: "local", SecretKey: "localsecret", Region: "eu-west-1"}},
			map[string]string{"HYDRANT_ES_SIGV4": "true", "HYDRANT_ES_REGION": "eu-west-1"},
		},
	} {
		t.Run(way.name, func(t *testing.T) {
			front := esnode.Secure(t, node.URL, way.accepted)
			settings := impatient()
			settings["HYDRANT_ES_CA_FILE"] = front.CAFile
			settings["HYDRANT_ES_HOSTS"] = strings.TrimPrefix(front.URL, "https://")
			maps.Copy(settings, way.settings)
			d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: settings})
			front.Accept(esnode.Credentials{User: "somebody else", Password: "x"})
			createSearch(t, d, searchTo(front.URL, way.name, 600))
			ids := putAll(t, d, way.name, numbered(0, 500, 50))
			awaitLogged(t, d, way.name, "ES.AccessDenied")
			front.Accept(way.accepted)
			wantIndexed(t, node.Client(), way.name, ids)
			wantNothingSetAside(t, d, way.name)
		})
	}
}
