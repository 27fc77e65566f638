"""Reference set to pixels: Zarr store, codec pipeline, xarray engine, windows, points."""
