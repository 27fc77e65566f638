"""Rasteret: its index built beforehand; `get_numpy` of all windows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import rasteret
import rasteret.fetch.cog
import shapely
from common import address
from pyproj import Transformer


def prepare(job):
    """Build the collection (headers and all), or find it built."""
    count = len(job["files"])
    x, y = job["origin"]
    edge = job["size"] * job["pixel"]
    west, south, east, north = Transformer.from_crs(32643, 4326, always_xy=True).transform_bounds(
        x, y - edge, x + edge, y
    )
    footprint = shapely.box(west, south, east, north)
    table = pa.table({
        "id": [Path(name).stem for name in job["files"]],
        "datetime": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(count)],
        "geometry": [shapely.to_wkb(footprint)] * count,
        "assets": [{"B04": {"href": address(job, number)}} for number in range(count)],
        "proj:epsg": [32643] * count,
    })  # fmt: skip
    # Building does not hand a backend on, and the default one refuses plain http.
    rasteret.fetch.cog._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
    return rasteret.build_from_table(
        table,
        name="bench",
        workspace_dir=Path(job["refs"]).with_suffix(".rasteret"),
        enrich_cog=True,
        band_codes=["B04"],
        force=True,
    )


def read(job, prepared):
    """Read the windows of every scene; geometries stand a little inside, so that no neighbour pixel comes along."""
    x, y = job["origin"]
    pixel, margin = job["pixel"], 1.0
    first = [window for window in job["windows"] if window[0] == 0]
    boxes = [
        shapely.box(
            x + column * pixel + margin,
            y - (row + rows) * pixel + margin,
            x + (column + columns) * pixel - margin,
            y - row * pixel - margin,
        )
        for _, row, column, rows, columns in first
    ]
    stack = prepared.get_numpy(boxes, bands=["B04"], geometry_crs=32643, progress=False, max_concurrent=300)
    return list(stack)
