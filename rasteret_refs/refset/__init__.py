"""The reference set on disk or in a bucket: write, read, seal, verify, relocate."""
