"""The corpus's tables as values, and the hash by which it knows pixels."""

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedImage:
    """What two decoders found in one full-resolution IFD."""

    path: str
    ifd_index: int
    """Number of the IFD in the main chain."""
    ifd_offset: int
    by_reader: dict[str, tuple[str, str]]
    """(dtype, sha256) by decoder: `rasterio`, `tifffile`; only those that decode it."""

    @property
    def truths(self) -> frozenset[tuple[str, str]]:
        """(dtype, sha256) that count as right: one where the decoders agree or only one decodes."""
        return frozenset(self.by_reader.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """One row of the manifest with its expected images."""

    path: str
    kind: str
    """`good`, `odd` or `corrupt`."""
    row: dict[str, str]
    images: tuple[ExpectedImage, ...]


def pixel_hash(pixels: npt.NDArray[np.generic]) -> tuple[str, str]:
    """dtype and sha256 of (band, y, x) pixels as the corpus counts them: C-contiguous, little-endian."""
    little = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))
    return str(little.dtype.newbyteorder("=")), hashlib.sha256(little.tobytes()).hexdigest()


def _image(row: dict[str, str]) -> ExpectedImage:
    found = {
        reader: (row[f"dtype_{reader}"], row[f"sha256_{reader}"])
        for reader in ("rasterio", "tifffile")
        if row[f"sha256_{reader}"]
    }
    return ExpectedImage(
        path=row["path"], ifd_index=int(row["ifd_index"]), ifd_offset=int(row["ifd_offset"]), by_reader=found
    )


@cache
def corpus_files(corpus: Path) -> tuple[CorpusFile, ...]:
    """All files of the corpus, in the manifest's order."""
    with (corpus / "expected.csv").open(newline="") as file:
        images = [_image(row) for row in csv.DictReader(file)]
    with (corpus / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_path: dict[str, list[ExpectedImage]] = {}
    for image in images:
        by_path.setdefault(image.path, []).append(image)
    return tuple(
        CorpusFile(path=row["path"], kind=row["kind"], row=row, images=tuple(by_path.get(row["path"], ())))
        for row in rows
    )
