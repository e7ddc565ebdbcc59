module hydrant/services/ingest

go 1.26.0

require hydrant/shared v0.0.0

replace hydrant/shared => ../../shared
