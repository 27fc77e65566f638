r"""Names that every reader of a reference set takes as they are: which ones are allowed, and how ids are made unique.

The rule for assets and scene columns, which become names of Zarr arrays and so path segments of keys, files and URLs:

- 1 to 128 printable characters without white space (`coordinates` lists names separated by spaces);
- no separator (`/`, `\`), nothing that URLs or file systems take for something else (`# ? % * : " < > |`);
- no leading dot (fsspec takes `.z…` for metadata, servers hide dot files) and not `__` in front (reserved by Zarr v3);
- not the name of a dimension or coordinate of ours, and nothing that we derive from another asset's name.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

RESERVED: Final = frozenset({"time", "scene", "id", "x", "y", "band", "spatial_ref"})
"""Dimensions and coordinates of every group."""

RESERVED_IN_STACKS: Final = frozenset({"crs", "transform", "transform_coefficient", "height", "width"})
"""Coordinates along the scene axis of the `stack` layout."""

DERIVED_SUFFIXES: Final = ("_mask", "_band", "_scale", "_offset", "_nodata")
"""What is appended to an asset's name for its mask, its band dimension and its coordinates."""

LONGEST: Final = 128
_FORBIDDEN: Final = frozenset('/\\#?%*:"<>|')
_VARIANT: Final = re.compile(r"__[0-9a-f]{8}$")
_TIFF_ENDING: Final = re.compile(r"\.(tiff?|gtiff|cog)$", re.IGNORECASE)


def name_problem(name: str) -> str | None:
    """Say why a name cannot be an array's name, or return None.

    Parameters
    ----------
    name
        Name of an asset or of a scene column.

    Returns
    -------
    str or None
        The reason in words that follow the name, e.g. `contains '/'`; None for a good name.
    """
    if not name:
        return "is empty"
    if len(name) > LONGEST:
        return f"has {len(name)} characters, more than {LONGEST}"
    if name.startswith("."):
        return "begins with a dot, which fsspec takes for metadata"
    if name.startswith("__"):
        return "begins with two underscores, which Zarr reserves"
    bad = sorted({character for character in name if character in _FORBIDDEN or not character.isprintable()})
    if bad or any(character.isspace() for character in name):
        return f"contains {', '.join(map(repr, bad)) or 'white space'}"
    if name.casefold() in RESERVED:
        return "is the name of a dimension or coordinate of every group"
    if _VARIANT.search(name):
        return "ends like a profile variant (two underscores and eight hexadecimal digits)"
    return None


def derived_from(name: str, others: Iterable[str]) -> str | None:
    """Return the other name whose mask, band dimension or coordinate would be called `name`, if there is one.

    Comparison ignores case: on some file systems `Red` and `red` are one directory.
    """
    folded = {other.casefold(): other for other in others}
    lower = name.casefold()
    for suffix in DERIVED_SUFFIXES:
        if lower.endswith(suffix) and lower.removesuffix(suffix) in folded:
            return folded[lower.removesuffix(suffix)]
    return None


def unique_ids(urls: Sequence[str]) -> tuple[str, ...]:
    """Return an id for each file: its name without `.tif`, with leading folders or a number where names repeat.

    Parameters
    ----------
    urls
        URLs or paths, in order.

    Returns
    -------
    tuple of str
        Distinct as long as the URLs are listed once each; a URL listed again gets `-2`, `-3`, …
    """
    parts = [[part for part in unquote(_path(url)).replace("\\", "/").split("/") if part] or ["image"] for url in urls]
    for segments in parts:
        segments[-1] = _TIFF_ENDING.sub("", segments[-1]) or segments[-1]
    depth = 1
    names = [segments[-1] for segments in parts]
    while len(set(names)) < len(set(map(tuple, parts))):
        depth += 1
        longer = ["/".join(segments[-depth:]) for segments in parts]
        repeated = {name for name, count in Counter(names).items() if count > 1}
        names = [new if old in repeated else old for new, old in zip(longer, names, strict=True)]
    return _numbered(names)


def _path(url: str) -> str:
    return urlsplit(url).path if "://" in url else url


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    taken = set(names)
    used: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in used or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{name}-{number}"
        used.add(candidate)
        result.append(candidate)
    return tuple(result)
