"""Independent truth: real files, generated files, and what rasterio, tifffile, rioxarray and odc-geo say of them."""
