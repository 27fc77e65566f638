"""The generated matrix: compression × predictor × dtype × planar × byte order × tiled or striped × classic or BigTIFF.

Each combination has a shape of its own, so that many files can be built into one set without sharing arrays. rasterio
(GDAL, libtiff) writes what it can, tifffile the rest; what neither writes is no combination.
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning, RasterioError

PREDICTED = ("deflate", "lzw", "zstd")
PLAIN = ("none", "lzma", "packbits")
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128", "complex_int16")
LERC_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_TIFFFILE_COMPRESSION = {
    "none": None,
    "deflate": "zlib",
    "lzw": "lzw",
    "zstd": "zstd",
    "lzma": "lzma",
    "packbits": "packbits",
}
_GDAL_COMPRESSION = {
    name: name.upper() for name in (*PREDICTED, *PLAIN, "lerc", "lerc_deflate", "lerc_zstd", "webp", "jpeg")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One TIFF of the matrix."""

    compression: str
    predictor: int
    dtype: str
    """NumPy's name, or `complex_int16` as rasterio calls it."""
    separate: bool
    """Planar separate, else chunky."""
    big_endian: bool
    tiled: bool
    bigtiff: bool
    bands: int = 3
    number: int = 0
    """Position in the matrix: decides the shape."""

    @property
    def name(self) -> str:
        """Readable and unique: the file's name without suffix."""
        return "-".join(
            (
                f"{self.number:04d}",
                self.compression,
                f"p{self.predictor}",
                self.dtype,
                "separate" if self.separate else "chunky",
                "be" if self.big_endian else "le",
                "tiled" if self.tiled else "striped",
                "big" if self.bigtiff else "classic",
                f"{self.bands}b",
            )
        )

    @property
    def height(self) -> int:
        """Rows: 33 … 92, so that the last tile or strip is often short."""
        return 33 + self.number % 60

    @property
    def width(self) -> int:
        """Columns: no two combinations have the same height and width."""
        return 33 + self.number // 60

    def pixels(self) -> npt.NDArray[np.generic]:
        """What is written: (bands, height, width); gradients with noise, full-range values and special floats."""
        random = np.random.default_rng(self.number)
        shape = (self.bands, self.height, self.width)
        dtype = np.dtype("complex64" if self.dtype == "complex_int16" else self.dtype)
        if dtype.kind in "ui":
            info = np.iinfo(dtype)
            noise = random.integers(0, 9, shape, dtype=np.int64).cumsum(axis=2).astype(dtype)
            noise[:, ::5, ::7] = random.integers(
                info.min, info.max, noise[:, ::5, ::7].shape, dtype=dtype, endpoint=True
            )
            return noise
        if self.dtype == "complex_int16":
            parts = random.integers(-(2**15), 2**15, (2, *shape))
            return (parts[0] + 1j * parts[1]).astype(np.complex64)
        real = random.normal(size=shape).cumsum(axis=2)
        if dtype.kind == "c":
            return (real + 1j * random.normal(size=shape)).astype(dtype)
        values = real.astype(dtype)
        if not self.compression.startswith("lerc"):
            values[:, ::6, ::5] = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-7], dtype)[
                : values[:, ::6, ::5].shape[2] % 5 + 1
            ][-1]
            values[:, 1::6, 3] = np.nan
        return values

    def write(self, directory: Path) -> Path | None:
        """Write the file, with rasterio, else with tifffile; None where neither can."""
        path = directory / f"{self.name}.tif"
        pixels = self.pixels()
        if self._write_with_rasterio(path, pixels) or self._write_with_tifffile(path, pixels):
            return path
        path.unlink(missing_ok=True)
        return None

    def _write_with_rasterio(self, path: Path, pixels: npt.NDArray[np.generic]) -> bool:
        options: dict[str, object] = {
            "compress": _GDAL_COMPRESSION[self.compression],
            "interleave": "band" if self.separate else "pixel",
            "ENDIANNESS": "BIG" if self.big_endian else "LITTLE",
            "BIGTIFF": "YES" if self.bigtiff else "NO",
            "BLOCKYSIZE": 16 if self.tiled else 7,
        }
        if self.predictor != 1:
            options["PREDICTOR"] = self.predictor
        if self.tiled:
            options |= {"TILED": "YES", "BLOCKXSIZE": 32}
        if self.compression == "webp":
            options["WEBP_LOSSLESS"] = "YES"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(
                    path,
                    "w",
                    driver="GTiff",
                    width=self.width,
                    height=self.height,
                    count=self.bands,
                    dtype=self.dtype,
                    **options,
                ) as file:
                    file.write(pixels)
        except (RasterioError, ValueError, TypeError):
            return False
        return _says(path, self)

    def _write_with_tifffile(self, path: Path, pixels: npt.NDArray[np.generic]) -> bool:
        if self.compression not in _TIFFFILE_COMPRESSION or self.dtype == "complex_int16":
            return False
        try:
            tifffile.imwrite(
                path,
                pixels if self.separate else np.moveaxis(pixels, 0, 2),
                byteorder=">" if self.big_endian else "<",
                bigtiff=self.bigtiff,
                photometric="minisblack",
                planarconfig=("separate" if self.separate else "contig") if self.bands > 1 else None,
                tile=(16, 32) if self.tiled else None,
                rowsperstrip=None if self.tiled else 7,
                compression=_TIFFFILE_COMPRESSION[self.compression],
                predictor=self.predictor if self.predictor != 1 else None,
                metadata=None,
            )
        except (ValueError, TypeError, NotImplementedError, KeyError):
            return False
        return _says(path, self)


def _says(path: Path, wanted: Combination) -> bool:
    """Whether the file on disk is the combination (a writer may ignore an option without a word)."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        return (
            page.predictor == wanted.predictor
            and page.is_tiled == wanted.tiled
            and (file.byteorder == ">") == wanted.big_endian
            and file.is_bigtiff == wanted.bigtiff
            and (page.planarconfig == 2) == (wanted.separate and wanted.bands > 1)
            and (page.compression == 1) == (wanted.compression == "none")
        )


def combinations() -> Iterator[Combination]:
    """The whole matrix, in a fixed order."""
    kinds: list[tuple[str, int, str, int]] = []
    kinds += [(name, 1, dtype, 3) for name in (*PREDICTED, *PLAIN) for dtype in (*INTEGERS, *FLOATS, *COMPLEX)]
    kinds += [(name, 2, dtype, 3) for name in PREDICTED for dtype in (*INTEGERS, *FLOATS)]
    kinds += [(name, 3, dtype, 3) for name in PREDICTED for dtype in FLOATS]
    kinds += [
        (name, 1, dtype, bands)
        for name in ("lerc", "lerc_deflate", "lerc_zstd")
        for dtype in LERC_DTYPES
        for bands in (1, 3)
    ]
    kinds += [("webp", 1, "uint8", 3), ("webp", 1, "uint8", 4), ("jpeg", 1, "uint8", 1), ("jpeg", 1, "uint8", 3)]
    kinds += [
        (name, predictor, dtype, 1)
        for name in PREDICTED
        for predictor in (1, 2)
        for dtype in ("uint8", "uint16", "float32")
    ]
    layouts = itertools.product((False, True), repeat=4)
    number = 0
    for layout, (compression, predictor, dtype, bands) in itertools.product(list(layouts), kinds):
        separate, big_endian, tiled, bigtiff = layout
        if separate and (bands == 1 or compression == "webp"):  # libtiff's WebP is chunky
            continue
        yield Combination(
            compression=compression,
            predictor=predictor,
            dtype=dtype,
            separate=separate,
            big_endian=big_endian,
            tiled=tiled,
            bigtiff=bigtiff,
            bands=bands,
            number=number,
        )
        number += 1


def truth(path: Path) -> npt.NDArray[np.generic]:
    """The pixels of a file as rasterio reads them, else as tifffile does: (bands, height, width)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                return file.read()
    except RasterioError:
        pixels = tifffile.imread(path, key=0)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if pixels.ndim == 2:
                return pixels[None]
            return pixels if page.planarconfig == 2 else np.moveaxis(pixels, 2, 0)
