"""Verification of a whole reference set: every file against the seal, and no file too many."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from rasteret_refs.errors import DamagedError, NotFoundError
from rasteret_refs.refset.files import SetFiles
from rasteret_refs.refset.layout import SEAL
from rasteret_refs.refset.seal import FileHash, Seal

THREADS: Final = 8
NAMED: Final = 5
"""Damaged files that a message names; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked."""

    files: int
    """Files, the seal included."""
    bytes: int
    """Bytes of all files but the seal."""
    listed: bool
    """Whether storage could be asked for files too many; plain HTTP has no listings."""


def verify(files: SetFiles, seal: Seal) -> Report:
    """Read every file and compare it with the seal.

    Raises
    ------
    DamagedError
        Naming the files that are missing, altered or too many.
    ObjectError
        Storage did not answer.
    """
    sealed = seal.all_files()
    problems: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        checks = pool.map(lambda entry: _problem(files, *entry), sealed.items())
        problems += [problem for problem in checks if problem is not None]
    present = files.names()
    if present is not None:
        problems += [
            f"{files.location}/{name}: expected only sealed files, got an extra one"
            for name in sorted(present - sealed.keys() - {SEAL})
        ]
    if problems:
        more = f" (and {len(problems) - NAMED} more)" if len(problems) > NAMED else ""
        raise DamagedError("; ".join(problems[:NAMED]) + more)
    return Report(files=len(sealed) + 1, bytes=sum(f.size for f in sealed.values()), listed=present is not None)


def _problem(files: SetFiles, name: str, sealed: FileHash) -> str | None:
    try:
        sealed.check(files.read(name, sealed.size), f"{files.location}/{name}")
    except NotFoundError:
        return f"{files.location}/{name}: expected a file, as sealed in {SEAL}, got none"
    except DamagedError as error:
        return str(error)
    return None
