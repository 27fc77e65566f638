"""Bytes to TIFF values: tags, header, IFDs, GeoKeys. Pure, bounded, no I/O."""
