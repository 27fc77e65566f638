"""Names, places and versions of the files that make a reference set (DESIGN: one directory, `NAME.refs`)."""

from typing import Final

from rasteret_refs.errors import RefsetError

FORMAT_VERSION: Final = 1
"""Version of the directory's layout; a reader refuses a greater one."""

SEAL: Final = "refs.json"
SCENES: Final = "scenes.parquet"
TILES: Final = "tiles.parquet"
FAILURES: Final = "failures.parquet"
ZARR: Final = "zarr.parq"
"""fsspec takes a directory for kerchunk-Parquet over HTTP without listings only when its name ends in `parq`."""
ZMETADATA: Final = f"{ZARR}/.zmetadata"

FORBIDDEN_IN_NAMES: Final = frozenset('/\\#?%*:"<>|')
"""Separators, what a URL gives another meaning to, and what some file systems refuse."""


def record_name(array_path: str, record: int) -> str:
    """Return the place of an array's record file, relative to the reference set."""
    return f"{ZARR}/{array_path}/refs.{record}.parq"


def array_path(group: str, name: str) -> str:
    """Return an array's path inside the Zarr hierarchy."""
    return f"{group}/{name}" if group else name


def check_name(name: str, owner: str) -> None:
    """Refuse a group's or array's name that some reader of the set would misread.

    Parameters
    ----------
    name
        One path segment.
    owner
        What to call it in the message, e.g. `group a/b`.

    Raises
    ------
    RefsetError
        fsspec takes keys that begin with `.z` for metadata (and returns 0 for data); a leading dot hides a file from
        many servers; separators, `#`, `?` and `%` change meaning in URLs.
    """
    if not name or name.startswith(".") or name != name.strip():
        raise RefsetError(f"{owner}: expected a name without leading dot or outer spaces, got {name!r}")
    bad = sorted({c for c in name if c in FORBIDDEN_IN_NAMES or not c.isprintable()})
    if bad:
        raise RefsetError(
            f"{owner}: the name {name!r} contains {bad}, which URLs or file systems take for something else"
        )
