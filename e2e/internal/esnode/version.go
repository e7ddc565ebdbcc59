// Package esnode runs one real node of a pinned release of Elasticsearch or OpenSearch for a test or a benchmark.
//
// A node is made of the release's published Java artifacts, which Fetch brings and compiles a launcher of a few lines
// against, once. It is the release's own server, indexing and HTTP; left out is what the artifacts do not have: the modules
// (scripts, ingest pipelines, Elasticsearch's data streams, which are a part of OpenSearch and so are there) and security,
// which Secure puts in front of a node. A node listens on 127.0.0.1 alone, on ports of its own, has 512 MB of heap and keeps
// its data in the test's folder. It is not left behind, however the process ends that runs it.
//
// A node takes 250 to 350 MB and some seconds of two cores to start, so a test has one at a time.
package esnode

import (
	"fmt"
	"strings"
)

// Version names a pinned release, and the folder that it is in.
type Version string

// The releases: the last with types, and the newest of each line that the service is for.
const (
	Elasticsearch7 Version = "elasticsearch-7.10.2"
	Elasticsearch8 Version = "elasticsearch-8.19.21"
	Elasticsearch9 Version = "elasticsearch-9.5.3"
	OpenSearch2    Version = "opensearch-2.19.1"
	OpenSearch3    Version = "opensearch-3.3.2"
)

// Versions returns every release.
func Versions() []Version {
	return []Version{Elasticsearch7, Elasticsearch8, Elasticsearch9, OpenSearch2, OpenSearch3}
}

// Distribution is "elasticsearch" or "opensearch".
func (v Version) Distribution() string {
	distribution, _, _ := strings.Cut(string(v), "-")
	return distribution
}

// Number is the release's number, such as 9.5.3.
func (v Version) Number() string {
	_, number, _ := strings.Cut(string(v), "-")
	return number
}

// recipe says how a release becomes a node.
type recipe struct {
	java      int        // the oldest Java that runs it; it was tried with 17, where it can, and 25
	artifacts []artifact // beside what they depend on
	launcher  string     // class
	plugin    string     // class of the HTTP server, loaded as a module; empty where it is on the class path
}

type artifact struct{ Group, Name, Version string }

// logging is what the artifacts use to log, but leave to whoever starts them.
const logging = "org.apache.logging.log4j"

func (v Version) recipe() (recipe, error) {
	number := v.Number()
	switch v {
	case Elasticsearch7:
		return recipe{17, []artifact{
			{"org.elasticsearch", "elasticsearch", number}, {"org.elasticsearch.plugin", "transport-netty4-client", number},
			{logging, "log4j-core", "2.11.1"},
		}, "Elasticsearch7Node", ""}, nil
	case Elasticsearch8, Elasticsearch9:
		return recipe{map[Version]int{Elasticsearch8: 17, Elasticsearch9: 21}[v], []artifact{
			{"org.elasticsearch", "elasticsearch", number}, {"org.elasticsearch.plugin", "transport-netty4", number},
		}, "ElasticsearchNode", "org.elasticsearch.transport.netty4.Netty4Plugin"}, nil
	case OpenSearch2:
		return recipe{17, openSearch(number), "OpenSearchNode", "org.opensearch.transport.Netty4Plugin"}, nil
	case OpenSearch3:
		return recipe{21, openSearch(number), "OpenSearchNode", "org.opensearch.transport.Netty4ModulePlugin"}, nil
	}
	return recipe{}, fmt.Errorf("no such release: %q", string(v))
}

func openSearch(number string) []artifact {
	return []artifact{
		{"org.opensearch", "opensearch", number}, {"org.opensearch", "opensearch-plugin-classloader", number},
		{"org.opensearch.plugin", "transport-netty4-client", number}, {logging, "log4j-core", "2.21.0"},
	}
}
