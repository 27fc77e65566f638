"""Publishing: a set is written beside its place and moved there in one step, or not at all.

While a set `NAME.refs` is being written, three hidden neighbours may exist: `.NAME.refs.lock` (held by the writer),
`.NAME.refs.staging-…` (what becomes the set) and, only where two directories cannot be exchanged in one step,
`.NAME.refs.old-…` for the instant between two renames. What a killed writer leaves is put right by the next one.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rasteret_refs.errors import ExistsError, RefsetError
from rasteret_refs.refset.layout import SEAL
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.trees import files_below, remove_tree

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""From Linux's `fcntl.h` and `linux/fs.h`; see renameat2(2)."""

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""A URL, also one that became a path and lost a slash: it would be a directory called `s3:`."""

_UNIMPORTANT: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers drop into any directory."""


@contextlib.contextmanager
def staged(out: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a directory to write a set into, and publish it as `out` when the block ends without an error.

    Parameters
    ----------
    out
        Where the set shall appear. A link is followed.
    overwrite
        Replace a reference set that is there, atomically: a reader sees the old one or the new one. On Linux this is
        one `renameat2(RENAME_EXCHANGE)`; elsewhere, and on file systems without it, two renames, between which `out`
        is missing for an instant (a writer killed just then leaves the old set beside; the next writer restores it).

    Yields
    ------
    Path
        An empty directory on the file system of `out`.

    Raises
    ------
    ExistsError
        Something is there already: without `overwrite` anything, with it anything but a reference set or an empty
        directory. Another writer at work on the same place counts too.
    RefsetError
        The directory above cannot be written.
    """
    if _URL.match(os.fspath(out)):
        raise RefsetError(
            f"{os.fspath(out)}: expected a local directory to write into, got a URL; write locally, then push"
        )
    place = Path(os.path.realpath(out))
    with _locked(place):
        _tidy(place)
        check_replaceable(place, overwrite=overwrite)
        with _system_errors(place):
            staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.staging-", dir=place.parent))
            staging.chmod(0o777 & ~_umask())
        try:
            yield staging
            check_replaceable(place, overwrite=overwrite)
            with _system_errors(place):
                _publish(staging, place)
        finally:
            # Before publishing this is the unfinished set, after an exchange the old one.
            remove_tree(staging)


def check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Raise unless a set may be published as `out`.

    Raises
    ------
    ExistsError
        As `staged` says. A set into which somebody put files of his own is not replaced either.
    """
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise ExistsError(
            f"{out}: expected no output yet, got an existing one (overwrite=True replaces a reference set)"
        )
    if not out.is_dir():
        raise ExistsError(f"{out}: expected a reference set to replace, got a file")
    present = {name for name in files_below(out) if name.rpartition("/")[2] not in _UNIMPORTANT}
    if not present:
        return
    try:
        seal = Seal.from_bytes((out / SEAL).read_bytes(), str(out))
    except (OSError, RefsetError) as error:
        raise ExistsError(f"{out}: expected a reference set to replace, got a directory that is none") from error
    foreign = sorted(present - seal.all_files().keys() - {SEAL})
    if foreign:
        raise ExistsError(f"{out}: expected only a reference set's files, got {foreign[:3]} among them; not replaced")


def exchange(first: Path, second: Path) -> bool:
    """Swap two directories' names in one step; False where the system or the file system cannot.

    Raises
    ------
    OSError
        The step failed for another reason.
    """
    if not sys.platform.startswith("linux"):
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


def _publish(staging: Path, out: Path) -> None:
    if not os.path.lexists(out):
        staging.rename(out)
        return
    if exchange(staging, out):
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old)
    try:
        staging.rename(out)
    except BaseException:
        old.rename(out)
        raise
    remove_tree(old)


def _tidy(out: Path) -> None:
    """Put right what killed writers left; only called under the lock, when nobody else is at work."""
    for old in sorted(out.parent.glob(f".{_escaped(out.name)}.old-*")):
        if not os.path.lexists(out) and (old / SEAL).exists():
            old.rename(out)
        else:
            remove_tree(old)
    for staging in out.parent.glob(f".{_escaped(out.name)}.staging-*"):
        remove_tree(staging)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the writer's lock of a place; it ends with the process, however that ends."""
    lock = out.parent / f".{out.name}.lock"
    with _system_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(lock, out)
    try:
        yield
    finally:
        # Removed while held: whoever opened it before finds that it is no longer the file of that name.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(lock: Path, out: Path) -> int:
    while True:
        with _system_errors(out):
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise ExistsError(f"{out}: expected no other writer, got one at work ({lock.name})") from error
            raise RefsetError(f"{out}: expected a file system that can lock, got: {error}") from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def _system_errors(out: Path) -> Iterator[None]:
    """Raise the system's refusals (no space, no permission) as errors of ours that name the place."""
    try:
        yield
    except RefsetError:
        raise
    except FileExistsError as error:
        raise ExistsError(f"{out}: expected no output yet, got an existing one") from error
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.ENOTDIR}:
            raise ExistsError(f"{out}: expected no output yet, got one that appeared meanwhile") from error
        raise RefsetError(f"{out}: expected a place to write to, got: {error}") from error


def _umask() -> int:
    """Return the process's umask; reading it means setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _escaped(name: str) -> str:
    """Quote what a glob would interpret."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
