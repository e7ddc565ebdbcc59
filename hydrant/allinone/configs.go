package allinone

import (
	"errors"

	"hydrant/hydrant/internal/natsserver"
	"hydrant/services/buffer"
	"hydrant/services/es"
	"hydrant/services/ingest"
	"hydrant/services/redshift"
	"hydrant/services/s3sink"
	"hydrant/shared/broker"
	"hydrant/shared/objectstore"
	"hydrant/shared/settings"
)

// configs are the settings of the services.
type configs struct {
	ingest   ingest.Config
	buffer   buffer.Config
	s3sink   s3sink.Config
	es       es.Config
	redshift redshift.Config
}

// readConfigs takes what the environment says, and points the services to each other.
func readConfigs(cfg Config, nats *natsserver.Server) (*configs, error) {
	c := &configs{}
	for _, service := range []any{&c.ingest, &c.buffer, &c.s3sink, &c.es, &c.redshift} {
		if err := settings.FromEnvironment(service); err != nil {
			return nil, err
		}
	}
	if c.es.ESSigV4 {
		return nil, errors.New("HYDRANT_ES_SIGV4: everything in one process has the credentials of its embedded S3 server alone, with which nothing can be signed for Amazon's domains; run the services as programs of their own (hydrant-es --es-sigv4)")
	}
	for _, b := range []*broker.Config{&c.ingest.NATS, &c.buffer.NATS, &c.s3sink.NATS, &c.es.NATS, &c.redshift.NATS} {
		b.NATSURL, b.NATSMonitorURL, b.StoreBytes, b.Replicas = nats.URL(), nats.MonitorURL(), nats.StoreBytes(), 1
		b.NATSCreds, b.NATSCA = "", ""
	}
	for _, s := range []*objectstore.Settings{&c.s3sink.Settings, &c.es.Settings, &c.redshift.Settings} {
		s.S3Endpoint, s.S3PathStyle, s.S3CreateBuckets = "http://"+cfg.S3Listen, true, true
		s.S3AccessKeyID, s.S3SecretAccessKey, s.S3SessionToken = cfg.S3AccessKey, cfg.S3SecretKey, ""
		s.STSEndpoint = "" // the embedded S3 server knows no roles
	}
	c.ingest.Listen, c.es.Clusters = cfg.Listen, cfg.Clusters
	return c, nil
}
