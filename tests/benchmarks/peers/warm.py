"""What comes before the clock runs, for every peer: imports, and the memory that a virtual machine lacks."""

import numpy as np


def settle() -> None:
    """Touch memory and give it back: on a virtual machine the host must find it first, which is no peer's doing."""
    np.ones(512 * 1024 * 1024, np.uint8)


def up():
    """Import what reads import at their first use."""
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
