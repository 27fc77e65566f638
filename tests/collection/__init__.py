"""Collections: views, labels, splits, tiles, radiometry and saving, against DuckDB, rasterio, shapely and pystac."""
