"""How tests of this folder parse bytes and name corpus files."""

import csv
from pathlib import Path

from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import ImageDescription, Limits, TiffFile
from rasteret_refs.tiff.windows import Windows


def parsed(data: bytes, **limits: int) -> TiffFile:
    """The file whose bytes are all known."""
    windows = Windows(len(data))
    windows.add(0, data)
    file = parse(windows, limits=Limits(**limits))
    assert isinstance(file, TiffFile)
    return file


def described(data: bytes) -> ImageDescription:
    """What the first IFD says."""
    return parsed(data).images[0].description


def manifest(corpus: Path) -> list[dict[str, str]]:
    """Rows of the corpus manifest."""
    with (corpus / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))
