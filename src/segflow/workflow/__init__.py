"""What the rules share: configuration, chunks, code digests, GPU leases, provenance."""
