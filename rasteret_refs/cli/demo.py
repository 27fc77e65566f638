"""`demo`: write genuine COGs, serve them, reference them, read them by plain Zarr and xarray, compare every pixel."""

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from rasteret_refs.cli.output import FAILED, print_table, reports_errors
from rasteret_refs.errors import BuildError

if TYPE_CHECKING:
    from rasteret_refs.cli.demo_server import Served

_SIZE = 1024
"""Pixels across and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """One COG that the demo writes."""

    name: str
    dtype: str
    compress: str
    predictor: int
    bands: int = 1
    nodata: float | None = None


_EXAMPLES = (
    _Example(name="reflectance", dtype="uint16", compress="deflate", predictor=2, nodata=0),
    _Example(name="reflectance_later", dtype="uint16", compress="deflate", predictor=2, nodata=0),
    _Example(name="elevation", dtype="float32", compress="zstd", predictor=3, nodata=-9999),
    _Example(name="classes", dtype="uint8", compress="lzw", predictor=1, nodata=255),
    _Example(name="displacement", dtype="int16", compress="lzw", predictor=2, bands=2, nodata=-32768),
)


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the files here; by default nothing is kept.")
@reports_errors
def command(*, out: Path | None) -> None:
    """Write a few COGs, serve them on the loopback, reference and read them, compare every pixel. Works offline."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _run(out)
        return
    with tempfile.TemporaryDirectory(prefix="rasteret-refs-demo-") as directory:
        _run(Path(directory))


def _run(directory: Path) -> None:
    from rasteret_refs.cli.demo_server import serve
    from rasteret_refs.collection import build

    written = _write_cogs(directory)
    click.echo(f"1. wrote {len(written)} COGs of {_SIZE}×{_SIZE} pixels with overviews to {directory}")
    with serve(directory) as served:
        click.echo(f"2. serving them at {served.url} (ranges, no listings)")
        urls = [f"{served.url}{example.name}.tif" for example in _EXAMPLES]
        collection = build(urls, directory / "demo.refs", overwrite=True)
        requests, size = served.take()
        click.echo(
            f"3. referenced all of them in demo.refs: {requests} requests, {size / 1024:.0f} KB read "
            f"of {sum((directory / f'{e.name}.tif').stat().st_size for e in _EXAMPLES) / 1024:.0f} KB"
        )
        click.echo(_indented(repr(collection.groups)))
        rows = _compare(collection, directory, served)
        print_table("4. read back over HTTP and compared with rasterio, pixel by pixel", _COLUMNS, rows)
        differing = sum(row[-1] != "equal" for row in rows)
    if differing:
        click.echo(f"error: {differing} arrays differ", err=True)
        sys.exit(FAILED)
    click.echo("all pixels equal; no pixel was copied")


_COLUMNS = ("scene", "factor", "read by", "type", "codecs", "requests", "KB", "pixels")


def _write_cogs(directory: Path) -> list[Path]:
    """Write the examples with GDAL's COG driver."""
    try:
        import rasterio
        from rasterio.transform import from_origin
    except ImportError as error:
        raise BuildError("the demo writes its COGs with rasterio: pip install 'rasteret-refs[geo]'") from error
    paths = []
    for number, example in enumerate(_EXAMPLES):
        path = directory / f"{example.name}.tif"
        options: dict[str, Any] = {
            "driver": "COG", "dtype": example.dtype, "count": example.bands, "width": _SIZE, "height": _SIZE,
            "crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 10, 10), "nodata": example.nodata,
            "compress": example.compress, "blocksize": 256, "overview_resampling": "nearest",
        }  # fmt: skip
        if example.predictor > 1:
            options["predictor"] = example.predictor
        with rasterio.open(path, "w", **options) as file:
            file.write(_pixels(example, number))
        paths.append(path)
    return paths


def _pixels(example: _Example, seed: int) -> npt.NDArray[Any]:
    """Hills with a little noise and a corner without data, shape (bands, rows, columns)."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[0:_SIZE, 0:_SIZE] / 97.0
    hills = 100.0 + 40.0 * np.sin(row) * np.cos(column) + random.normal(0.0, 1.0, (example.bands, _SIZE, _SIZE))
    pixels: npt.NDArray[Any] = hills.astype(example.dtype)
    if example.nodata is not None:
        pixels[:, : _SIZE // 5, : _SIZE // 3] = example.nodata
    return pixels


def _compare(collection: Any, directory: Path, served: "Served") -> list[tuple[Any, ...]]:
    """Read each scene at two factors by plain Zarr, by plain xarray, and by our reader."""
    import xarray as xr
    import zarr

    from rasteret_refs.refset.plain import plain_store

    rows: list[tuple[Any, ...]] = []
    served.take()
    store = plain_store(directory / "demo.refs")
    root = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    for row in collection.scenes.select(["id", "assets"]).to_pylist():
        asset = row["assets"]["image"]
        name = Path(asset["href"]).stem
        array, index = asset["refs:array"], asset["refs:index"]
        for factor in (1, 2):
            group = asset["refs:group"].removesuffix("factor_1") + f"factor_{factor}"
            expected = _by_rasterio(directory / f"{name}.tif", factor)
            opened = xr.open_zarr(store, group=group, zarr_format=2, consolidated=False, chunks=None)
            ours = collection.to_xarray(group)
            codecs = _codecs(root[f"{group}/{array}"])
            position = int(np.flatnonzero(ours["id"].to_numpy() == row["id"])[0])
            ways = {
                "zarr": partial(root[f"{group}/{array}"].__getitem__, index),
                "xarray": opened[array][index].to_numpy,
                "rasteret_refs": ours[array][position].to_numpy,
            }
            for way, read in ways.items():
                served.take()
                pixels = read()
                requests, size = served.take()
                same = pixels.dtype == expected.dtype and np.array_equal(pixels.reshape(expected.shape), expected)
                rows.append(
                    (name, factor, way, pixels.dtype, codecs, requests, size // 1024, "equal" if same else "DIFFERENT")
                )
    return rows


def _by_rasterio(path: Path, factor: int) -> npt.NDArray[Any]:
    import rasterio

    options = {} if factor == 1 else {"overview_level": int(np.log2(factor)) - 1}
    with rasterio.open(path, **options) as file:
        pixels: npt.NDArray[Any] = file.read()
    return pixels


def _codecs(array: Any) -> str:
    """Names of an array's codecs in decoding order."""
    chain = [*array.compressors, *reversed(array.filters)]
    return " → ".join(getattr(codec, "codec_id", type(codec).__name__) for codec in chain) or "none"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())
