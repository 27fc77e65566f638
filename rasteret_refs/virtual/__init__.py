"""TIFF values to virtual Zarr arrays: codec chain, chunk manifest, pyramid, attributes. Pure."""
