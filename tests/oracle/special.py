"""TIFFs beyond the matrix, made by rasterio or tifffile: NBITS, JPEG, masks, sparse tiles, odd blocks, pyramids."""

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import tifffile
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

Writer = Callable[[Path], None]
Pixels = npt.NDArray[np.generic]


def gradient(bands: int, height: int, width: int, dtype: str = "uint8", *, top: int | None = None) -> Pixels:
    """Smooth pixels with noise, within the dtype (or below `top`)."""
    random = np.random.default_rng(bands * 7919 + height * 101 + width)
    rows, columns = np.mgrid[:height, :width]
    values = (rows + 2 * columns)[None] * np.arange(1, bands + 1)[:, None, None] + random.integers(
        0, 5, (bands, height, width)
    )
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        return (values / 7).astype(kind)
    return (values % (top or np.iinfo(kind).max)).astype(kind)


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning that a test image lies nowhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def gdal(pixels: Pixels, **options: object) -> Writer:
    """A writer of one GeoTIFF through GDAL, with creation options."""

    def write(path: Path) -> None:
        with quiet(), rasterio.open(path, "w", **_profile(pixels, options)) as file:
            file.write(pixels)

    return write


def _profile(pixels: Pixels, options: dict[str, object]) -> dict[str, object]:
    bands, height, width = pixels.shape
    base = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": pixels.dtype}
    tiles = {"TILED": "YES", "BLOCKXSIZE": 32, "BLOCKYSIZE": 16}
    return base | (tiles if options.pop("tiled", True) else {}) | options


def sparse(**options: object) -> Writer:
    """A file of which only one tile was ever written."""

    def write(path: Path) -> None:
        pixels = gradient(2, 70, 90, "int16")
        with quiet(), rasterio.open(path, "w", SPARSE_OK="TRUE", **_profile(pixels, dict(options))) as file:
            file.write(pixels[:, 16:32, 32:64], window=Window(32, 16, 32, 16))

    return write


def masked(*, overviews: bool = False, **options: object) -> Writer:
    """A file with an internal mask, and one for each overview where asked."""

    def write(path: Path) -> None:
        pixels = gradient(3, 150, 133)
        mask = np.where((np.add.outer(np.arange(150), np.arange(133)) % 17) < 9, 255, 0).astype(np.uint8)
        with quiet(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, "w", **_profile(pixels, dict(options))) as file:
                file.write(pixels)
                file.write_mask(mask)
            if overviews:
                with rasterio.open(path, "r+") as file:
                    file.build_overviews([2, 4], Resampling.nearest)

    return write


def overviews(factors: list[int], pixels: Pixels, **options: object) -> Writer:
    """A file with overviews by `gdaladdo`'s rule (sizes rounded up)."""

    def write(path: Path) -> None:
        gdal(pixels, **options)(path)
        with quiet(), rasterio.open(path, "r+") as file:
            file.build_overviews(factors, Resampling.average)

    return write


def cog(pixels: Pixels, **options: object) -> Writer:
    """A file of GDAL's COG driver (sizes rounded down), georeferenced."""

    def write(path: Path) -> None:
        profile = _profile(pixels, {"tiled": False}) | {
            "driver": "COG",
            "BLOCKSIZE": 128,
            "OVERVIEWS": "FORCE_USE_EXISTING",
        }
        profile |= {
            "crs": "EPSG:32633",
            "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5000000),
            "OVERVIEWS": "AUTO",
        }
        with rasterio.open(path, "w", **(profile | options)) as file:
            file.write(pixels)

    return write


def tiff(pixels: Pixels, **options: object) -> Writer:
    """A writer of one image through tifffile."""
    return lambda path: tifffile.imwrite(path, pixels, **({"metadata": None, "photometric": "minisblack"} | options))


def pages(path: Path) -> None:
    """Three pages of other shapes, dtypes and compressions."""
    with tifffile.TiffWriter(path) as file:
        file.write(gradient(1, 40, 50, "uint16")[0], compression="zlib", predictor=True, metadata=None)
        file.write(gradient(1, 33, 21, "float32")[0], metadata=None)
        file.write(np.moveaxis(gradient(3, 20, 30), 0, 2), photometric="rgb", compression="lzw", metadata=None)


def sub_ifd_pyramid(path: Path) -> None:
    """Overviews as SubIFDs, as microscopes write them."""
    pixels = gradient(1, 160, 128, "uint16")[0]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        options = {"tile": (32, 48), "compression": "zlib", "metadata": None, "photometric": "minisblack"}
        file.write(pixels, subifds=2, **options)
        file.write(pixels[::2, ::2], subfiletype=1, **options)
        file.write(pixels[::4, ::4], subfiletype=1, **options)


def lzw_running_on(path: Path) -> None:
    """Strips whose LZW streams end in codes that no table has, as some writers leave them."""
    strip = bytes.fromhex("8001c0fffff8")  # 9-bit codes: clear, 7, 7, 511, 511
    rows, at = 5, 8 + 2 + 9 * 12 + 4
    offsets, counts = (at + 8 * rows + len(strip) * n for n in range(rows)), [len(strip)] * rows
    entries = [(256, 3, 1, 2), (257, 3, 1, rows), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (273, 4, rows, at),
               (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, rows, at + 4 * rows)]  # fmt: skip
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    arrays = struct.pack(f"<{2 * rows}I", *offsets, *counts)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + ifd + arrays + strip * rows)


def beyond_four_gigabytes(path: Path) -> None:
    """A BigTIFF whose tiles lie beyond 4 GiB, in a file with a hole (little disk is used)."""
    tifffile.imwrite(
        path,
        gradient(1, 64, 64, "uint16")[0],
        bigtiff=True,
        tile=(32, 32),
        compression="zlib",
        predictor=True,
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages.first
        moved = []
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(offset)
            data = file.filehandle.read(count)
            target = (5 << 30) + offset
            file.filehandle.seek(target)
            file.filehandle.write(data)
            moved.append(target)
        page.tags["TileOffsets"].overwrite(moved)


def _nbits() -> Iterator[tuple[str, Writer]]:
    for bits in (*range(1, 8), *range(9, 16), *range(17, 32)):
        dtype = "uint8" if bits < 8 else "uint16" if bits < 16 else "uint32"
        for bands, options in (
            (1, {"compress": "deflate"}),
            (3, {"compress": "lzw", "interleave": "pixel", "ENDIANNESS": "BIG"}),
            (2, {"tiled": False, "interleave": "band", "BLOCKYSIZE": 5}),
        ):
            pixels = gradient(bands, 37 + bits, 41, dtype, top=(1 << bits) - 1)
            layout = "strips" if "tiled" in options else "tiles"
            yield f"nbits-{bits}-{bands}b-{layout}", gdal(pixels, NBITS=bits, **options)
    for order in ("LITTLE", "BIG"):
        for predictor in (1, 2, 3):
            half = gradient(2, 44, 35, "float32")
            name = f"nbits-16-float-{order.lower()}-p{predictor}"
            yield name, gdal(half, NBITS=16, compress="deflate", ENDIANNESS=order, PREDICTOR=predictor)


def _jpeg() -> Iterator[tuple[str, Writer]]:
    for bands in (1, 3, 4):
        for interleave in ("pixel", "band"):
            for tiled in (True, False):
                pixels = gradient(bands, 75, 83)
                yield (
                    f"jpeg-{bands}b-{interleave}-{'tiles' if tiled else 'strips'}",
                    gdal(
                        pixels,
                        compress="jpeg",
                        interleave=interleave,
                        tiled=tiled,
                        **({} if tiled else {"BLOCKYSIZE": 16}),
                    ),
                )
    for tables in range(4):
        yield (
            f"jpeg-tables-{tables}",
            gdal(gradient(3, 75, 83), compress="jpeg", photometric="ycbcr", JPEGTABLESMODE=tables),
        )
    yield (
        "jpeg-ycbcr-strips",
        gdal(gradient(3, 75, 83), compress="jpeg", photometric="ycbcr", tiled=False, BLOCKYSIZE=16),
    )
    yield "jpeg-quality-30", gdal(gradient(3, 75, 83), compress="jpeg", photometric="ycbcr", JPEG_QUALITY=30)
    yield "jpeg-rgb", gdal(gradient(3, 75, 83), compress="jpeg", photometric="rgb")


def _lerc() -> Iterator[tuple[str, Writer]]:
    holes = gradient(2, 50, 60, "float32")
    holes[:, 10:20, 5:30] = np.nan
    transparent = gradient(4, 50, 60)
    transparent[3] = np.where(transparent[0] % 7 < 3, 0, 255)  # becomes LERC's own mask
    for compression in ("lerc", "lerc_deflate", "lerc_zstd"):
        for error in (0, 0.05):
            yield f"{compression}-nan-{error}", gdal(holes, compress=compression, MAX_Z_ERROR=error, interleave="band")
        yield f"{compression}-nan-one-band", gdal(holes[:1], compress=compression)
        yield f"{compression}-nan-chunky", gdal(holes, compress=compression, interleave="pixel")
        yield f"{compression}-all-nan", gdal(np.full((1, 20, 20), np.nan, "float64"), compress=compression)
        yield f"{compression}-alpha", gdal(transparent, compress=compression, alpha="YES", photometric="RGB")
        yield f"{compression}-constant", gdal(np.full((1, 20, 20), 7, "uint16"), compress=compression)


def _other_codecs() -> Iterator[tuple[str, Writer]]:
    bilevel = gradient(1, 61, 70, top=2)
    for compression in ("ccittrle", "ccittfax3", "ccittfax4"):
        yield compression, gdal(bilevel, compress=compression, NBITS=1, tiled=False, BLOCKYSIZE=9)
    yield "webp-lossy", gdal(gradient(3, 64, 70), compress="webp", WEBP_LEVEL=60)
    for dtype in ("uint8", "uint16", "float32"):
        yield (
            f"jpegxl-{dtype}",
            tiff(
                gradient(1, 50, 45, dtype)[0], compression="jpegxl", tile=(32, 16), compressionargs={"lossless": True}
            ),
        )
    rgb = np.moveaxis(gradient(3, 50, 45), 0, 2)
    yield "jpegxl-rgb", tiff(rgb, compression="jpegxl", photometric="rgb", compressionargs={"lossless": True})
    for dtype in ("uint8", "uint16"):
        yield f"jpeg2000-{dtype}", tiff(gradient(1, 50, 45, dtype)[0], compression="jpeg2000", tile=(32, 16))


def _layouts() -> Iterator[tuple[str, Writer]]:
    for rows in (1, 3, 64, 500):
        pixels = gradient(2, 64, 31, "int16")
        yield f"strips-of-{rows}", gdal(pixels, tiled=False, BLOCKYSIZE=rows, compress="zstd", PREDICTOR=2)
    for block in ((16, 48), (80, 16), (256, 256)):
        yield (
            f"tiles-{block[0]}x{block[1]}",
            gdal(gradient(1, 70, 90, "uint32"), BLOCKXSIZE=block[0], BLOCKYSIZE=block[1]),
        )
    for height, width in ((1, 1), (1, 300), (300, 1)):
        for tiled in (True, False):
            yield (
                f"shape-{height}x{width}-{tiled}",
                gdal(gradient(1, height, width, "uint16"), tiled=tiled, compress="lzw"),
            )
    for bands, interleave in ((2, "pixel"), (5, "pixel"), (5, "band"), (64, "band"), (13, "pixel")):
        yield (
            f"bands-{bands}-{interleave}",
            gdal(gradient(bands, 40, 50, "int8", top=127), interleave=interleave, compress="deflate"),
        )
    yield "sparse-plain", sparse()
    yield "sparse-predictor", sparse(compress="deflate", PREDICTOR=2)
    yield "sparse-nodata", sparse(compress="zstd", nodata=-32768)
    yield "sparse-band", sparse(compress="lzw", interleave="band", nodata=7, PREDICTOR=2, ENDIANNESS="BIG")
    yield "sparse-lerc", sparse(compress="lerc", nodata=-5)
    yield "sparse-strips", sparse(tiled=False, compress="deflate", nodata=3)
    yield "lzw-running-on", lzw_running_on
    yield "minisblack-inverted", gdal(gradient(1, 30, 30), photometric="miniswhite")
    yield "nodata-nan", gdal(gradient(1, 30, 30, "float32"), nodata=float("nan"), compress="deflate")
    yield "alpha", gdal(gradient(4, 30, 30), photometric="rgb", ALPHA="YES", compress="deflate")


def _pyramids() -> Iterator[tuple[str, Writer]]:
    odd = gradient(1, 275, 301, "uint16")
    yield "overviews-up", overviews([2, 4, 8], odd, compress="deflate", PREDICTOR=2)
    yield "overviews-odd-factors", overviews([3, 5], odd, compress="lzw")
    yield "overviews-float", overviews([2, 4], gradient(2, 275, 301, "float32"), compress="zstd", PREDICTOR=3)
    yield "overviews-separate", overviews([2], gradient(3, 100, 90), compress="deflate", interleave="band")
    yield "overviews-jpeg", overviews([2, 4], gradient(3, 275, 301), compress="jpeg", photometric="ycbcr")
    yield "overviews-strips", overviews([2], odd, tiled=False)
    for compression in ("deflate", "lzw", "zstd", "lerc", "lzma"):
        yield (
            f"cog-{compression}",
            cog(odd, COMPRESS=compression, **({"PREDICTOR": 2} if compression in ("deflate", "lzw", "zstd") else {})),
        )
    yield "cog-jpeg-mask", cog(gradient(3, 275, 301), COMPRESS="jpeg", ADD_MASK="YES")
    yield "mask", masked()
    yield "mask-deflate", masked(compress="deflate", PREDICTOR=2)
    yield "mask-jpeg", masked(compress="jpeg", photometric="ycbcr")
    yield "mask-strips", masked(tiled=False)
    yield "mask-overviews", masked(overviews=True, compress="zstd")
    yield "pages", pages
    yield "sub-ifds", sub_ifd_pyramid
    yield "beyond-4-gib", beyond_four_gigabytes


def special_files() -> dict[str, Writer]:
    """Writers by name, in a fixed order."""
    found: dict[str, Writer] = {}
    for name, writer in (*_nbits(), *_jpeg(), *_lerc(), *_other_codecs(), *_layouts(), *_pyramids()):
        assert name not in found, name
        found[name] = writer
    return found
