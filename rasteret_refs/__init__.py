"""Cloud-Optimized GeoTIFFs as Zarr, without copying a pixel."""
