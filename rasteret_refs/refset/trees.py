"""Directories with thousands of small files: listing them, making them, and removing them, quickly."""

import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_THREADS: Final = 8
"""ext4 takes 2.6 ms to remove a directory, but as long for many at once: 2,000 of them went from 6.3 to 0.3 s."""


def files_below(root: Path) -> set[str]:
    """Return the names of all files and links below a directory, relative to it, with `/` between their parts."""
    found: set[str] = set()
    top = os.fspath(root)
    for folder, subfolders, files in os.walk(top):
        inner = "" if folder == top else os.path.relpath(folder, top).replace(os.sep, "/") + "/"
        links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - quick
        found.update(inner + name for name in (*files, *links))
    return found


def make_directories(wanted: Iterable[Path]) -> None:
    """Make directories and those above them, as far as they are not there."""
    distinct = set(wanted)
    above = {parent for path in distinct for parent in path.parents} & distinct
    for parent in {path.parent for path in distinct} | above:
        parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="rasteret-refs-mkdir") as pool:
        for _ in pool.map(lambda path: path.mkdir(exist_ok=True), distinct):
            pass


def remove_tree(root: Path) -> None:
    """Remove a directory and what is in it, as far as the system lets us; a link is left alone."""
    if not root.is_dir() or root.is_symlink():
        return
    by_depth: dict[int, list[str]] = {}
    for folder, _, _ in os.walk(root):
        by_depth.setdefault(folder.count(os.sep), []).append(folder)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="rasteret-refs-remove") as pool:
        for depth in sorted(by_depth, reverse=True):
            for _ in pool.map(lambda folder: shutil.rmtree(folder, ignore_errors=True), by_depth[depth]):
                pass
