"""A reference set as a plain reader sees it: its metadata as JSON, its pixels through zarr and fsspec."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import zarr

import rasteret_refs as rr


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an image lies."""

    group: str
    array: str
    index: int


class PlainSet:
    """A set opened by the plain route; images are found by the scene table, or by name where there is one scene."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.group = zarr.open_group(rr.plain_store(path), mode="r", zarr_format=2, use_consolidated=False)
        self.metadata: dict[str, Any] = json.loads((path / "zarr.parq" / ".zmetadata").read_text())["metadata"]

    def arrays(self) -> dict[str, dict[str, Any]]:
        """`.zarray` documents by path."""
        return {key.removesuffix("/.zarray"): value for key, value in self.metadata.items() if key.endswith("/.zarray")}

    def named(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of that name, by path."""
        return {path: tuple(meta["shape"]) for path, meta in self.arrays().items() if path.rpartition("/")[2] == name}

    def places(self) -> dict[tuple[str, str], Place]:
        """Where each (href, asset) lies, from the scene table."""
        found = {}
        for row in pq.read_table(self.path / "scenes.parquet", columns=["assets"]).to_pylist():
            for name, asset in (row["assets"] or {}).items():
                if asset is not None and asset["refs:group"] is not None:
                    place = Place(group=asset["refs:group"], array=asset["refs:array"], index=asset["refs:index"])
                    found[asset["href"], name] = place
        return found

    def image(self, group: str, array: str, index: int = 0) -> npt.NDArray[np.generic]:
        """Pixels of one image, (band, y, x), without the padding that a stack of unequal shapes has."""
        pixels = np.asarray(self.group[f"{group}/{array}"][index])
        sizes = [
            int(self.group[f"{group}/{name}"][index]) if f"{group}/{name}/.zarray" in self.metadata else None
            for name in ("height", "width")
        ]
        return pixels.reshape(-1, *pixels.shape[-2:])[:, : sizes[0], : sizes[1]]
