"""Plain inputs: paths, globs, `.txt` lists and URLs of TIFFs, one scene each."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.sources.hrefs import absolute, is_url, unsigned
from rasteret_refs.sources.values import Refusals

_GLOB_SIGNS = frozenset("*?[")


def expand(source: str, base: str | None = None) -> list[str]:
    """Absolute paths or URLs that a path, a glob or a URL stands for.

    Parameters
    ----------
    source
        A URL, a path (`~` is expanded), or a glob (`**` crosses folders). A file whose name holds `*`, `?` or `[`
        is taken literally when it exists. Missing files are returned as they are: whoever reads them names them.
    base
        Path or URL of the list that names it; None: relative to the working directory.

    Raises
    ------
    NotFoundError
        A glob that matches no file.
    SourceError
        A directory, or an unknown scheme.
    """
    if is_url(source) or source.startswith("/vsi") or (base is not None and is_url(base)):
        source = absolute(source, base)
        if is_url(source):
            return [source]
    folder = Path(base).parent if base is not None else Path.cwd()
    path = os.path.normpath(folder / Path(source).expanduser())
    if os.path.isdir(path):  # noqa: PTH112 - text: what is not there may be a glob
        raise SourceError(
            f"{path}: expected TIFFs, found a directory that is neither a Rasteret collection nor a reference set; "
            f"give a glob, such as {path}/**/*.tif"
        )
    if os.path.lexists(path) or _GLOB_SIGNS.isdisjoint(path):
        return [path]
    # Sorted: directory order differs from machine to machine, and equal inputs must give equal sets.
    found = sorted(match for match in glob.glob(path, recursive=True) if not os.path.isdir(match))  # noqa: PTH112, PTH207
    if not found:
        raise NotFoundError(f"{path}: no file matches this glob")
    return found


def glob_pattern(text: str) -> re.Pattern[str]:
    """Regular expression of a glob over keys of a bucket: `*` stays within a folder, `**` does not.

    Directories and keys that begin with a dot are matched like others. (`glob.translate` came with Python 3.13.)
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", text)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(
        meaning.get(part) or (part.replace("[!", "[^", 1) if part.startswith("[") else re.escape(part))
        for part in parts
        if part
    )
    return re.compile(pattern + r"\Z")


def read_list(text: str, base: str) -> list[str]:
    """Entries of a `.txt` list: one path, glob or URL a line; blank lines and lines that start with `#` do not count.

    Parameters
    ----------
    text
        The list. A ` #` behind an entry starts a comment too; a `#` inside a name does not.
    base
        Path or URL of the list: relative entries are relative to its folder.
    """
    entries: list[str] = []
    for line in text.removeprefix("\ufeff").splitlines():
        entry = line.split(" #", 1)[0].strip()
        if entry and not entry.startswith("#"):
            entries.extend(expand(entry, base))
    return entries


def unique_ids(urls: Sequence[str]) -> list[str]:
    """Scene ids from file names: the stem, preceded by as many folders as tell equal stems apart.

    The ids depend on the set of URLs only, not on their order.

    Parameters
    ----------
    urls
        Distinct absolute paths or URLs.
    """
    parts = [_name_parts(url) for url in urls]
    by_stem: dict[str, list[int]] = {}
    for index, names in enumerate(parts):
        by_stem.setdefault(names[0], []).append(index)
    ids = [""] * len(urls)
    for group in by_stem.values():
        depth, deepest = 1, max(len(parts[index]) for index in group)
        while depth < deepest and len({parts[index][:depth] for index in group}) < len(group):
            depth += 1
        for index in group:
            ids[index] = "/".join(reversed(parts[index][:depth]))
    seen: dict[str, int] = {}
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
    # `a.tif` beside `a.tiff`, or two queries on one path: only the whole URL tells them apart.
    return [name if seen[name] == 1 else url for name, url in zip(ids, urls, strict=True)]


def _name_parts(url: str) -> tuple[str, ...]:
    if is_url(url):
        pieces = urlsplit(url)
        path = pieces.netloc + "/" + pieces.path.strip("/")
    else:
        path = url
    names = [name for name in path.split("/") if name]
    stem = names[-1]
    for ending in (".tif", ".tiff", ".gtiff", ".cog", ".tf8", ".btf"):
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            stem = stem[: -len(ending)]
            break
    return (stem, *reversed(names[:-1]))


def file_scenes(urls: Iterable[str], refusals: Refusals, *, asset: str = "image") -> Iterator[Scene]:
    """One scene a TIFF; a file that is named twice counts once.

    Parameters
    ----------
    urls
        Absolute paths or URLs.
    refusals
        Takes missing local files (`NotFoundError`); objects behind URLs are only known to be missing when read.
    asset
        Name of the one asset of each scene.
    """
    stripped: dict[str, str | None] = {}
    for url in urls:
        try:
            clean, signature = unsigned(url)
        except SourceError as error:
            refusals.refuse(error)
            continue
        stripped.setdefault(clean, signature)
    distinct = list(stripped)
    for scene_id, url in zip(unique_ids(distinct), distinct, strict=True):
        if not is_url(url) and not os.path.isfile(url):  # noqa: PTH113 - hrefs are text
            what = "a directory" if os.path.isdir(url) else "nothing"  # noqa: PTH112
            refusals.refuse(NotFoundError(f"{url}: expected a TIFF, found {what}"), scene=scene_id, url=url)
            continue
        properties = {"refs:signed": stripped[url]} if stripped[url] else {}
        yield Scene(id=scene_id, assets=(Asset(name=asset, href=url, properties=properties),))
