"""A reference set in other tools' forms: kerchunk JSON, Icechunk, GDAL tile index."""
