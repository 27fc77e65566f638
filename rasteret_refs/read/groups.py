"""What a reference set holds, for people and programs: its grids, their arrays, shapes and codecs."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rasteret_refs.refset.views import View

_FACTOR = "factor_"
_CODEC_PREFIXES = ("rasteret_refs.", "imagecodecs_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayInfo:
    """One array of a grid, at full resolution."""

    name: str
    shape: tuple[int, ...]
    """Scenes first, then bands where there are several, then rows and columns."""
    chunks: tuple[int, ...]
    dtype: str
    """As NumPy writes it."""
    codecs: tuple[str, ...]
    """Short names in decoding order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """One grid (or one pixel shape, in the `stack` layout)."""

    path: str
    """`""` where there is only one grid; what `group=` takes."""
    crs: str | None
    """`EPSG:<code>`, the beginning of a WKT, or None; None too where each scene has its own."""
    scenes: int
    """Length of the scene axis."""
    resolutions: tuple[str, ...]
    """Names of the datasets below `path`: `factor_1`, `factor_2`, …"""
    arrays: tuple[ArrayInfo, ...]

    @property
    def factors(self) -> tuple[int, ...]:
        """Decimation factors, each once."""
        return tuple(sorted({int(name.removeprefix(_FACTOR).partition("__")[0]) for name in self.resolutions}))


class Groups(Sequence[GroupInfo]):
    """The grids of a set; prints as a table."""

    def __init__(self, groups: Sequence[GroupInfo]) -> None:
        self._groups = tuple(groups)

    def __getitem__(self, index: Any) -> Any:
        return self._groups[index]

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        rows = [_COLUMNS, *(_cells(group) for group in self._groups)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        return "\n".join(
            "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in _COLUMNS)
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(group)) for group in self._groups]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_COLUMNS = ("group", "crs", "scenes", "factors", "arrays")


def _cells(group: GroupInfo) -> tuple[str, ...]:
    arrays = ", ".join(f"{a.name} {a.dtype} {'×'.join(map(str, a.shape[1:]))}" for a in group.arrays)
    factors = " ".join(map(str, group.factors))
    return group.path or "(root)", group.crs or "–", str(group.scenes), factors, arrays


def list_groups(metadata: Mapping[str, Any]) -> Groups:
    """Describe the grids of a set.

    Parameters
    ----------
    metadata
        Zarr v2 metadata documents by key (`a/b/.zarray`), as `.zmetadata` has them.
    """
    resolutions: dict[str, list[str]] = {}
    members: dict[str, list[str]] = {}
    for key in metadata:
        if key.endswith("/.zarray"):
            path = key.removesuffix("/.zarray")
            members.setdefault(path.rpartition("/")[0], []).append(path)
        elif key.endswith("/.zgroup"):
            parent, _, name = key.removesuffix("/.zgroup").rpartition("/")
            if name.startswith(_FACTOR):
                resolutions.setdefault(parent, []).append(name)
    found = []
    for path, names in resolutions.items():
        prefix = f"{path}/" if path else ""
        finest = f"{prefix}{min(names, key=_fineness)}"
        arrays = tuple(_images(metadata, members.get(finest, ())))
        scenes = max((array.shape[0] for array in arrays), default=0)
        found.append(
            GroupInfo(
                path=path,
                crs=_crs(metadata, finest, members.get(finest, ())),
                scenes=scenes,
                resolutions=tuple(sorted(names, key=_fineness)),
                arrays=arrays,
            )
        )
    return Groups(found)


def narrowed(groups: Groups, view: View) -> Groups:
    """Leave out the grids that a view has no scenes in, and count its scenes in the others."""
    if not view.is_narrowed:
        return groups
    found = []
    for group in groups:
        rows = view.places.get(group.path)
        if rows is not None:
            arrays = tuple(replace(array, shape=(len(rows), *array.shape[1:])) for array in group.arrays)
            found.append(replace(group, scenes=len(rows), arrays=arrays))
    return Groups(found)


def _fineness(name: str) -> tuple[int, str]:
    return int(name.removeprefix(_FACTOR).partition("__")[0]), name


def _images(metadata: Mapping[str, Any], paths: Sequence[str]) -> Iterator[ArrayInfo]:
    """Arrays of a group that hold pixels: those with rows and columns as last dimensions."""
    for path in paths:
        document = metadata[f"{path}/.zarray"]
        dims = metadata.get(f"{path}/.zattrs", {}).get("_ARRAY_DIMENSIONS", [])
        if list(dims[-2:]) == ["y", "x"]:
            yield ArrayInfo(
                name=path.rpartition("/")[2],
                shape=tuple(document["shape"]),
                chunks=tuple(document["chunks"]),
                dtype=str(document["dtype"]).lstrip("<|"),
                codecs=tuple(_codecs(document)),
            )


def _codecs(document: Mapping[str, Any]) -> Iterator[str]:
    chain = [document.get("compressor"), *reversed(document.get("filters") or ())]
    for codec in chain:
        if codec is not None:
            name = str(codec["id"])
            for prefix in _CODEC_PREFIXES:
                name = name.removeprefix(prefix)
            yield name


def _crs(metadata: Mapping[str, Any], group: str, paths: Sequence[str]) -> str | None:
    """The CRS's code from the `proj:` convention, or its name from the WKT."""
    attributes = metadata.get(f"{group}/spatial_ref/.zattrs", {})
    wkt = attributes.get("crs_wkt")
    for path in paths:
        document = metadata.get(f"{path}/.zattrs", {})
        if "proj:code" in document:
            return str(document["proj:code"])
    if not wkt:
        return None
    parts = wkt.split('"')
    return parts[1] if len(parts) > 1 else None
