"""Rasteret: its index built beforehand; `read_window` of one scene for each chip, one chip after the other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasteret
import rasteret.fetch.cog
import shapely
from pyproj import Transformer


def prepare(job):
    """Build the collection, headers and all."""
    rasteret.fetch.cog._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # the default refuses plain http
    move = Transformer.from_crs(32643, 4326, always_xy=True)
    footprints = []
    for scene in job["scenes"]:
        edge = scene["size"] * 10.0
        footprints.append(
            shapely.box(*move.transform_bounds(scene["x"], scene["y"] - edge, scene["x"] + edge, scene["y"]))
        )
    table = pa.table({
        "id": [scene["id"] for scene in job["scenes"]],
        "datetime": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=scene["day"]) for scene in job["scenes"]],
        "geometry": [shapely.to_wkb(footprint) for footprint in footprints],
        "assets": [
            {band: {"href": f"{job['files']}{scene['id']}_{band}.tif"} for band in job["bands"]}
            for scene in job["scenes"]
        ],
        "proj:epsg": [32643] * len(job["scenes"]),
    })  # fmt: skip
    where = Path(job["refs"]).with_suffix(".rasteret")
    return rasteret.build_from_table(
        table, name="bench", workspace_dir=where, enrich_cog=True, band_codes=list(job["bands"]), force=True
    )


def read(job, prepared):
    """Read the chips: (bands, rows, columns) each."""
    found = [
        prepared.read_window(
            record_ids=[scene], bounds=tuple(bounds), res=(10.0, 10.0), bands=list(job["bands"]), target_crs=32643,
            max_concurrent=300,
        )
        for scene, *bounds in job["chips"]
    ]  # fmt: skip
    return [chip.astype(np.uint16) for chip in found]  # it gives floats
