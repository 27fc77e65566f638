"""Which sets this user wrote on this machine: the consent that building them was, remembered by the seal's hash.

A set's own words cannot say where it comes from. So whoever writes a set here notes the hash of its seal in a directory
of the user's (`$XDG_STATE_HOME/rasteret_refs/written`, by default below `~/.local/state`). A set whose seal is noted
may be read wherever its seal points, local files and private addresses included; any other set is a stranger's, even
when it lies on a local disk. Nothing in a set can forge that: the hash covers every byte of it.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rasteret_refs.errors import UnauthorisedSourceError
from rasteret_refs.objects.authority import Authority, as_allowed
from rasteret_refs.refset.hints import safe_hints
from rasteret_refs.refset.seal import Seal

STATE_VARIABLE = "RASTERET_REFS_STATE"
"""Environment variable that names the directory instead."""


def state_directory() -> Path:
    """Return where hashes of seals are noted."""
    own = os.environ.get(STATE_VARIABLE)
    if own:
        return Path(own) / "written"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "rasteret_refs" / "written"


def note_written(digest: str, *, bases: Iterable[str] = ()) -> None:
    """Note that this user wrote a set here.

    Parameters
    ----------
    digest
        sha256 of `refs.json`.
    bases
        sha256 of the seals that it continues, or took over: a stranger's set does not become the user's own by an
        annotation, nor by being merged.

    Notes
    -----
    Where the directory cannot be written, nothing is noted: the set then reads like a stranger's.
    """
    if not all(map(was_written_here, bases)):
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no home directory
        directory = state_directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / digest).touch(mode=0o600)


def was_written_here(digest: str) -> bool:
    """Tell whether this user wrote the set of such a seal on this machine."""
    try:
        return (state_directory() / digest).is_file()
    except (OSError, RuntimeError):
        return False


def check_own(digest: str, location: object, recipe: Mapping[str, Any]) -> None:
    """Refuse to run the search that a stranger's set records: it names hosts and files, and SQL over tables.

    Raises
    ------
    UnauthorisedSourceError
        The message names the recorded source, which may be given again.
    """
    if not was_written_here(digest):
        raise UnauthorisedSourceError(
            f"{location}: expected a set that you wrote here, whose search may be run again, got a stranger's; "
            f"if you trust its source, {str(recipe.get('source'))[:200]!r}, give it as source"
        )


def authority_of(seal: Seal, digest: str, location: str, *, allow: str | Sequence[str] = ()) -> Authority:
    """Say what may be read on behalf of a set.

    Parameters
    ----------
    seal, digest, location
        Of the opened set.
    allow
        What the caller allows beyond the rule of `objects.authority`.
    """
    return Authority(tuple(seal.sources), as_allowed(allow), was_written_here(digest), location)


def storage_of(seal: Seal, digest: str, storage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options for reading a set: its own hints, below what the caller gives.

    A stranger's hints are cut down to what can neither send requests elsewhere, nor credentials, nor spend money.
    """
    hints = dict(seal.storage) if was_written_here(digest) else safe_hints(seal.storage)
    return {**hints, **(storage or {})}
