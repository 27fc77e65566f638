"""COGs without pixels: a true header, tiles of plausible sizes, and a hole where their bytes would be.

They measure what depends on headers only (requests, time, memory, bytes of a set) at full size, on little disk.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHORT, LONG, DOUBLE = 3, 4, 12
_FORMATS = {SHORT: "H", LONG: "I", DOUBLE: "d"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cog:
    """One single-band COG: Deflate, predictor 2, square tiles, overviews by halves."""

    size: int
    """Pixels along each side, or rows where `width` is given."""
    width: int | None = None
    tile: int = 1024
    bits: int = 16
    overviews: int = 4
    resolution: float = 10.0
    origin: tuple[float, float] = (600000.0, 1500000.0)
    epsg: int = 32643
    mean_tile_bytes: int = 900_000

    def levels(self) -> list[tuple[int, int]]:
        """(height, width), full resolution first, as the COG driver makes them (rounded down)."""
        width = self.width or self.size
        return [(self.size >> level, width >> level) for level in range(self.overviews + 1)]

    def write(self, path: Path, seed: int) -> int:
        """Write the header and leave a hole behind it; returns the tiles of the full resolution."""
        random = np.random.default_rng(seed)
        counts = [self._byte_counts(shape, random) for shape in self.levels()]
        lengths = [
            len(self._ifd(shape, np.zeros_like(count), count, 0, 0))
            for shape, count in zip(self.levels(), counts, strict=True)
        ]
        position = 8 + sum(lengths)
        offsets = []
        for count in reversed(counts):  # a COG holds its smallest overview first
            ends = position + np.cumsum(count + 8)
            offsets.append(ends - count - 4)
            position = int(ends[-1])
        offsets.reverse()
        header = b"II*\0" + struct.pack("<I", 8)
        for number, (shape, count) in enumerate(zip(self.levels(), counts, strict=True)):
            following = 8 + sum(lengths[: number + 1]) if number < self.overviews else 0
            header += self._ifd(shape, offsets[number], count, len(header), following)
        with path.open("wb") as file:
            file.write(header)
            file.truncate(position)
        return len(counts[0])

    def _byte_counts(self, shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
        tiles = -(-shape[0] // self.tile) * -(-shape[1] // self.tile)
        return random.normal(self.mean_tile_bytes, self.mean_tile_bytes / 6, tiles).clip(2000).astype(np.int64)

    def _ifd(
        self, shape: tuple[int, int], offsets: np.ndarray, counts: np.ndarray, start: int, following: int
    ) -> bytes:
        height, width = shape
        full = height == self.size
        x, y = self.origin
        keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, self.epsg)
        tags: list[tuple[int, int, tuple[float, ...] | np.ndarray]] = [
            *([] if full else [(254, LONG, (1,))]),
            (256, SHORT, (width,)),
            (257, SHORT, (height,)),
            (258, SHORT, (self.bits,)),
            (259, SHORT, (8,)),
            (262, SHORT, (1,)),
            (277, SHORT, (1,)),
            (284, SHORT, (1,)),
            (317, SHORT, (2,)),
            (322, SHORT, (self.tile,)),
            (323, SHORT, (self.tile,)),
            (324, LONG, offsets),
            (325, LONG, counts),
            (339, SHORT, (1,)),
        ]
        if full:
            tags += [
                (33550, DOUBLE, (self.resolution, self.resolution, 0.0)),
                (33922, DOUBLE, (0.0, 0.0, 0.0, x, y, 0.0)),
                (34735, SHORT, keys),
            ]
        entries, values = b"", b""
        data_start = start + 2 + 12 * (len(tags) + 1) + 4
        nodata = b"0\0"
        for tag, kind, value in [*tags]:
            packed = struct.pack(f"<{len(value)}{_FORMATS[kind]}", *value)
            entries += struct.pack("<HHI", tag, kind, len(value))
            if len(packed) <= 4:
                entries += packed.ljust(4, b"\0")
            else:
                entries += struct.pack("<I", data_start + len(values))
                values += packed
        entries += struct.pack("<HHI", 42113, 2, len(nodata)) + nodata.ljust(4, b"\0")
        return struct.pack("<H", len(tags) + 1) + entries + struct.pack("<I", following) + values


SENTINEL_2 = {
    **{name: Cog(size=10980) for name in ("B02", "B03", "B04", "B08")},
    **{
        name: Cog(size=5490, overviews=3, resolution=20.0, bits=8 if name == "SCL" else 16)
        for name in ("B05", "B06", "B07", "B8A", "B11", "B12", "SCL")
    },
    **{name: Cog(size=1830, overviews=1, resolution=60.0) for name in ("B01", "B09")},
}
"""The 13 assets of a Sentinel-2 L2A scene as GDAL's COG driver writes them with tiles of 1,024 pixels (it halves until
an image fits one tile): 744 tiles at full resolution."""
