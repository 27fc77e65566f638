"""How big a set of 100 Sentinel-2 scenes is: 13 assets, 744 full-resolution tiles each, stacked on their grids."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tifffile
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

import rasteret_refs as rr
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from tests.headers import SENTINEL_2

SCENES = 100


@pytest.fixture(scope="module")
def sentinel_2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scene]]:
    """The set, and the scenes that it was built of."""
    directory = tmp_path_factory.mktemp("sentinel")
    scenes = []
    for number in range(SCENES):
        moment = datetime(2024, 1, 1, 5, 20, tzinfo=UTC) + timedelta(days=5 * number, seconds=number)
        folder = directory / f"S2A_43PGQ_{moment:%Y%m%d}_0_L2A"
        folder.mkdir()
        assets = []
        for band, (name, cog) in enumerate(SENTINEL_2.items()):
            cog.write(folder / f"{name}.tif", seed=number * 100 + band)
            assets.append(Asset(name=name, href=str(folder / f"{name}.tif")))
        scenes.append(Scene(id=folder.name, assets=tuple(assets), datetime=moment))
    out = directory / "sentinel.refs"
    build(scenes, out)
    return out, scenes


def size(paths: Iterator[Path]) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_a_scene_costs_few_bytes_and_the_set_few_files(sentinel_2: tuple[Path, list[Scene]]) -> None:
    out, _ = sentinel_2
    full = size(path for name in SENTINEL_2 for path in out.glob(f"zarr.parq/**/factor_1/{name}/refs.*.parq"))
    files = [path for path in out.rglob("*") if path.is_file()]
    everything = size(iter(files))
    print(f"{full / SCENES:.0f} bytes a scene at full resolution, {everything / SCENES:.0f} in all, {len(files)} files")
    assert full > 0
    assert full / SCENES <= 6700
    assert everything / SCENES <= 9500
    assert len(files) <= 140


def test_both_engines_find_the_references_that_the_headers_hold(sentinel_2: tuple[Path, list[Scene]]) -> None:
    out, scenes = sentinel_2
    raw = ReferenceFileSystem(
        str(out / "zarr.parq"), remote_protocol="file", asynchronous=False, skip_instance_cache=True
    )
    mapper = rr.plain_store(out).fs.references
    arrays = {
        path.parent.name: path.parent.relative_to(out / "zarr.parq")
        for path in out.glob("zarr.parq/**/factor_1/*/refs.0.parq")
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fastparquet.*")
        for name in ("B02", "SCL", "B09"):
            for index in (0, 57, 99):
                with tifffile.TiffFile(
                    next(asset.href for asset in scenes[index].assets if asset.name == name)
                ) as file:
                    page = file.pages.first
                    across = -(-page.imagewidth // page.tilewidth)
                    number = len(page.dataoffsets) // 2
                    wanted = [page.dataoffsets[number], page.databytecounts[number]]
                key = f"{arrays[name]}/{index}.{number // across}.{number % across}"
                assert list(raw.references[key])[1:] == wanted
                assert list(mapper[key])[1:] == wanted


def test_plain_readers_see_the_stack(sentinel_2: tuple[Path, list[Scene]]) -> None:
    out, _ = sentinel_2
    store = rr.plain_store(out)
    assert isinstance(store, FsspecStore)
    root = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    shapes = {
        path.parent.name: root[str(path.parent.relative_to(out / "zarr.parq"))].shape
        for path in out.glob("zarr.parq/**/factor_1/B*/refs.0.parq")
    }
    assert shapes["B02"] == (SCENES, 10980, 10980)
    assert shapes["B05"] == (SCENES, 5490, 5490)
    assert shapes["B01"] == (SCENES, 1830, 1830)
