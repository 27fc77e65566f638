"""TIFF codecs for Zarr: predictors, bit packing, byte order, padding, JPEG with tables and the rest."""
