"""Texts of CRSs from files and sets of strangers: codes and WKT, and nothing that makes PROJ open a file.

PROJ takes names of grids, of init files and of parameter files from a CRS and opens them when coordinates are
transformed, wherever they lie (https://proj.org/en/stable/resource_files.html): a pipe is then waited for for ever, and
URLs are asked where PROJ's network access is on. Names without a directory are looked up among PROJ's own files.
"""

import re
from functools import lru_cache
from typing import Final

LONGEST: Final = 100_000
"""Characters; PROJ's longest definitions have some ten thousand."""
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}:[A-Za-z0-9_.+:-]{1,64}\Z")
_WKT: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9_]*\s*[\[(]")
_FILE: Final = re.compile(r"PARAMETERFILE|PROJ4_GRIDS", re.IGNORECASE)
_FILE_NAME: Final = re.compile(
    '(?:PARAMETERFILE\\s*[\\[(]\\s*["\u201c][^"\u201d]*|PROJ4_GRIDS)["\u201d]\\s*,\\s*["\u201c]([^"\u201d]*)["\u201d]',
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(r"\b(?:\w*grids?|file|init|model|catalog)\s*=\s*(\S*)", re.IGNORECASE)
"""Parameters of PROJ's own strings that name files; WKT has such strings in `EXTENSION`, `METHOD` and `REMARK`."""
_PLACE: Final = re.compile(r"[/\\~]")


@lru_cache(maxsize=64)  # a set has the same text in each of its groups
def crs_problem(text: str) -> str | None:
    """Say why a text may not be given to PROJ; None where it may."""
    if len(text) > LONGEST:
        return f"a CRS of {len(text)} characters"
    if _CODE.match(text):
        return None
    if not _WKT.match(text):
        return f"neither a code (EPSG:4326) nor WKT as CRS, {text[:40]!r}"
    names = [found[1] for found in _FILE_NAME.finditer(text)]
    hidden = len(names) != len(_FILE.findall(text))
    if hidden or any(_PLACE.search(name) for name in [*names, *_PARAMETER.findall(text)]):
        return "a CRS that names a file outside PROJ's own"
    return None
