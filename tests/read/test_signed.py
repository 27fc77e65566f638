"""Signed sources: every way of reading gets its tokens when it reads, and new ones when they expire on the way."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio

import rasteret_refs as rr
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from tests.ml.signed import BLOBS, serve_signed
from tests.read.conftest import noise, write_cog

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's own


def test_tokens_that_expire_every_few_requests_stop_no_read(tmp_path):
    names = [f"{n}.tif" for n in range(6)]
    for number, name in enumerate(names):
        write_cog(tmp_path / name, noise((1, 300, 300), seed=number), origin=(600000.0, 1400000.0))
    scenes = [
        Scene(
            id=name,
            datetime=datetime(2024, 1, 1 + n, tzinfo=UTC),
            assets=(Asset(name="red", href=BLOBS + name),),
            properties={},
        )
        for n, name in enumerate(names)
    ]
    expected = []
    for name in names:
        with rasterio.open(tmp_path / name) as file:
            expected.append(file.read(1))
    with serve_signed(tmp_path, every=5) as cloud:
        build(scenes, tmp_path / "x.refs", storage=cloud.storage)
        refs = rr.open(tmp_path / "x.refs", storage=cloud.storage, tile_cache=0)
        np.testing.assert_array_equal(refs.to_xarray()["red"], expected)
        np.testing.assert_array_equal(refs.read(like=refs.to_xarray())["red"], expected)
        chips = refs.chips(64)
        for number, entry in enumerate(chips.table.to_pylist()[:24:5]):
            rows, columns = slice(entry["row"], entry["row"] + 64), slice(entry["column"], entry["column"] + 64)
            found = chips.read([5 * number])["red"][0]
            np.testing.assert_array_equal(found, expected[entry["scene"]][rows, columns])
        sampled = refs.sample_points([(600005.0, 1399995.0)], crs=32643)
        assert sampled["red"].to_pylist() == [pixels[0, 0] for pixels in expected]
        assert cloud.refused > 0
        assert cloud.tokens > 2
    held = b"".join(path.read_bytes() for path in (tmp_path / "x.refs").rglob("*") if path.is_file())
    assert b"secret" not in held
    assert b"sig=" not in held
