"""Publishing a set below a prefix that never changes: every file, and last `refs.json`, without which it is no set."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rasteret_refs.errors import AccessError, ExistsError, ObjectError, RefsetError
from rasteret_refs.objects.location import is_url
from rasteret_refs.refset.card import CARD, card
from rasteret_refs.refset.cite import cite
from rasteret_refs.refset.layout import FORBIDDEN_IN_NAMES, SEAL
from rasteret_refs.refset.opened import OpenedRefset

_UPLOADS: Final = 16
"""Files under way at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was published."""

    url: str
    """Where the set opens: `rr.open(url, sha256=…)`."""
    sha256: str
    """Hash of `refs.json`, which pins the set."""
    files: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {"url": self.url, "sha256": self.sha256, "files": self.files, "bytes": self.bytes}


def push(
    base: Path, url: str, *, version: str, storage: Mapping[str, Any] | None = None, token: str | None = None
) -> PushReport:
    """Publish a verified set.

    Parameters
    ----------
    base
        The set, a local directory.
    url
        Prefix: a directory, or an s3, gs, az or `hf://datasets/OWNER/NAME` URL.
    version
        Last part of the set's place (a tag on Hugging Face): once it is there, nothing below it is changed.
    storage
        Prefix → obstore options, for writing.
    token
        Of Hugging Face.

    Raises
    ------
    ExistsError
        This version is there already.
    DamagedError
        The set is not sound: nothing was sent.
    RefsetError
        A version that cannot be part of a path, or a place that cannot be written.
    """
    wrong = not version or version.startswith(".") or not version.isprintable() or version != version.strip()
    if wrong or FORBIDDEN_IN_NAMES & set(version):
        raise RefsetError(f"expected a version that is one part of a path, got {version!r}")
    refset = OpenedRefset(base)
    refset.verify()
    names = sorted(refset.seal.all_files())
    if url.startswith("hf://"):
        from rasteret_refs.refset.push_hf import push_to_hugging_face

        place = push_to_hugging_face(refset, base, names, url, version=version, token=token)
    elif url.endswith("://"):
        raise RefsetError(f"{url}: expected a bucket or container after it, got none")
    elif url.startswith(("http://", "https://")):
        raise RefsetError(f"{url}: expected a directory, or an s3, gs, az or hf URL: plain HTTP has no way to write")
    else:
        place = _push_objects(refset, base, names, url, version=version, storage=storage)
    sizes = sum((base / name).stat().st_size for name in [*names, SEAL])
    return PushReport(url=place, sha256=refset.sha256, files=len(names) + 1, bytes=sizes)


def _push_objects(
    refset: OpenedRefset, base: Path, names: list[str], url: str, *, version: str, storage: Mapping[str, Any] | None
) -> str:
    from rasteret_refs.objects.blocking import run
    from rasteret_refs.objects.client import Objects
    from rasteret_refs.refset.files import normalised

    folder = f"{normalised(url)}/{version}"
    place = f"{folder}/{base.resolve().name}"
    objects = Objects(storage)
    text = card(refset, cite(refset), folder=base.resolve().name, location=place)
    run(_upload(objects, base, names, folder=folder, place=place, text=text))
    return place


async def _upload(objects: Any, base: Path, names: list[str], *, folder: str, place: str, text: str) -> None:
    if await objects.exists(f"{place}/{SEAL}"):
        raise ExistsError(f"{place}: expected a new version, got one that is published")
    slots = asyncio.Semaphore(_UPLOADS)

    async def send(name: str) -> None:
        async with slots:
            if not is_url(place):
                Path(place, name).parent.mkdir(parents=True, exist_ok=True)
            await objects.put(f"{place}/{name}", (base / name).read_bytes())

    try:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(send(name))
    except* (ObjectError, OSError) as errors:
        first = errors.exceptions[0]
        kind = AccessError if isinstance(first, AccessError) else RefsetError
        raise kind(f"{place}: not published, for a file could not be written: {first}") from first
    await objects.put(f"{folder}/{CARD}", text.encode())
    await send(SEAL)
