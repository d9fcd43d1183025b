"""The demo: real cloud-optimized GeoTIFFs, a real S3 server on loopback, and cumulo between them. `make demo`."""
