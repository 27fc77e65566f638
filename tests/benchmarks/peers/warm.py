"""Imports what reads import at their first use: the clock runs from "imports done", for every peer."""


def up():
    """Import."""
    import aiohttp  # noqa: F401
    import dask.array  # noqa: F401
    import fsspec.implementations.http
    import fsspec.implementations.local  # noqa: F401
    import imagecodecs
    import odc.geo.overlap  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import rasterio.warp  # noqa: F401

    from rasteret_refs.objects.runtime import obstore

    obstore()
    imagecodecs.deflate_decode  # noqa: B018 - loads the extension
    imagecodecs.delta_decode  # noqa: B018
