"""Rasteret: its index built beforehand; `read_window` of all records as one mosaic."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import rasteret
import rasteret.fetch.cog
import shapely
from pyproj import Transformer


def prepare(job):
    """Build the collection."""
    rasteret.fetch.cog._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # the default refuses plain http
    edge = job["size"] * 10.0
    footprints = []
    for scene in job["scenes"]:
        move = Transformer.from_crs(scene["crs"], 4326, always_xy=True)
        box = move.transform_bounds(scene["x"], scene["y"] - edge, scene["x"] + edge, scene["y"])
        footprints.append(shapely.to_wkb(shapely.box(*box)))
    table = pa.table({
        "id": [scene["id"] for scene in job["scenes"]],
        "datetime": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=scene["day"]) for scene in job["scenes"]],
        "geometry": footprints,
        "assets": [{"B04": {"href": f"{job['base']}{scene['id']}_red.tif"}} for scene in job["scenes"]],
        "proj:epsg": [scene["crs"] for scene in job["scenes"]],
    })  # fmt: skip
    where = Path(job["refs"]).with_suffix(".rasteret")
    return rasteret.build_from_table(
        table, name="bench", workspace_dir=where, enrich_cog=True, band_codes=["B04"], force=True
    )


def read(job, prepared):
    """Read the mosaic, the first id on top."""
    x, y = job["corner"]
    edge = job["window"] * 10.0
    ids = sorted(scene["id"] for scene in job["scenes"])
    found = prepared.read_window(
        record_ids=ids, bounds=(x, y - edge, x + edge, y), res=(10.0, 10.0), bands=["B04"], target_crs=32643,
        max_concurrent=300,
    )  # fmt: skip
    return [found[0]]
