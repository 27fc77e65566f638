"""The plain route: a reference set opened by zarr and fsspec, with nothing of ours but codecs (and `plain_store`)."""
