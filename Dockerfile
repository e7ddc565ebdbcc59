# Hydrant's images: a target a service, each with its program and nothing else.
#
#     docker build --target ingest --tag hydrant-ingest .
#
# One image with every program would be of 100 MB, and a service would be new whenever another one is. What they share is
# compiled once, in the stage "compiled". The classic builder and BuildKit both build this file.

FROM golang:1.26-alpine AS modules
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off
COPY shared/go.mod shared/go.sum shared/
COPY services/ingest/go.mod services/ingest/go.sum services/ingest/
COPY services/buffer/go.mod services/buffer/go.sum services/buffer/
COPY services/s3sink/go.mod services/s3sink/go.sum services/s3sink/
COPY services/es/go.mod services/es/go.sum services/es/
COPY services/redshift/go.mod services/redshift/go.sum services/redshift/
# Where modules come from is the builder's business; by default it is Go's own proxy.
ARG GOPROXY
RUN for service in ingest buffer s3sink es redshift; do (cd services/$service && go mod download) || exit 1; done

FROM modules AS compiled
COPY shared shared
COPY services services
# Compiled, and not linked, before the version is known, so that another version is linked anew and no more.
RUN for service in ingest buffer s3sink es redshift; do (cd services/$service && go list -trimpath -export ./cmd/hydrant-$service) || exit 1; done

FROM compiled AS services
ARG VERSION=unknown
RUN for service in ingest buffer s3sink es redshift; do \
      (cd services/$service && go build -trimpath -ldflags "-s -w -X hydrant/shared/settings.Version=$VERSION" -o /out/ ./cmd/hydrant-$service) || exit 1; \
    done

# Time zones are in the programs. Certificates are for S3, search clusters and databases by TLS.
FROM scratch AS service
COPY --from=services /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
# A number, so that an engine can see that it is not root.
USER 65532:65532
ENV HYDRANT_ADMIN_ADDR=:4574
EXPOSE 4574

FROM service AS ingest
COPY --from=services /out/hydrant-ingest /
LABEL org.opencontainers.image.title="Hydrant ingest"
ENV HYDRANT_LISTEN=:4573
EXPOSE 4573
HEALTHCHECK --interval=5s --timeout=5s --start-period=1m CMD ["/hydrant-ingest", "--health"]
ENTRYPOINT ["/hydrant-ingest"]

FROM service AS buffer
COPY --from=services /out/hydrant-buffer /
LABEL org.opencontainers.image.title="Hydrant buffer"
HEALTHCHECK --interval=5s --timeout=5s --start-period=1m CMD ["/hydrant-buffer", "--health"]
ENTRYPOINT ["/hydrant-buffer"]

FROM service AS s3sink
COPY --from=services /out/hydrant-s3sink /
LABEL org.opencontainers.image.title="Hydrant s3sink"
HEALTHCHECK --interval=5s --timeout=5s --start-period=1m CMD ["/hydrant-s3sink", "--health"]
ENTRYPOINT ["/hydrant-s3sink"]

FROM service AS es
COPY --from=services /out/hydrant-es /
LABEL org.opencontainers.image.title="Hydrant es"
HEALTHCHECK --interval=5s --timeout=5s --start-period=1m CMD ["/hydrant-es", "--health"]
ENTRYPOINT ["/hydrant-es"]

FROM service AS redshift
COPY --from=services /out/hydrant-redshift /
LABEL org.opencontainers.image.title="Hydrant redshift"
HEALTHCHECK --interval=5s --timeout=5s --start-period=1m CMD ["/hydrant-redshift", "--health"]
ENTRYPOINT ["/hydrant-redshift"]

# The command-line tools, "hydrant status" and its neighbours, without "hydrant run": in a container each service is one of its own.
FROM compiled AS hydrant-program
COPY hydrant hydrant
ARG GOPROXY
RUN cd hydrant && go list -trimpath -export -tags toolsonly .
ARG VERSION=unknown
RUN cd hydrant && go build -trimpath -tags toolsonly -ldflags "-s -w -X hydrant/shared/settings.Version=$VERSION" -o /out/ .

FROM scratch AS hydrant
COPY --from=hydrant-program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Hydrant" org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
USER 65532:65532
COPY --from=hydrant-program /out/hydrant /
ENTRYPOINT ["/hydrant"]

# For trials without an Amazon Redshift; see e2e/internal/redshiftstandin/DESIGN.md.
FROM compiled AS redshift-standin-program
COPY hydrant hydrant
COPY e2e e2e
ARG GOPROXY
RUN cd e2e && go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/redshift-standin

FROM scratch AS redshift-standin
COPY --from=redshift-standin-program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="A stand-in for Amazon Redshift" org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
USER 65532:65532
ENV HYDRANT_LISTEN=:5439
EXPOSE 5439
COPY --from=redshift-standin-program /out/redshift-standin /
ENTRYPOINT ["/redshift-standin"]
