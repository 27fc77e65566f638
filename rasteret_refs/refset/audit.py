"""Audit of a set: everything that it could make a reader touch, told without touching any of it.

Our own reader refuses most of what is flagged here. Plain Zarr and fsspec refuse nothing: they follow every reference,
local files included, with whatever credentials they are given, and run any codec that is installed.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np

from rasteret_refs.errors import DamagedError, RasteretRefsError
from rasteret_refs.objects.authority import below, foreign_problem
from rasteret_refs.refset.documents import CODECS, check_codecs
from rasteret_refs.refset.geoparquet import texts_of
from rasteret_refs.refset.hints import unsafe_hints
from rasteret_refs.refset.layout import SCENES, SEAL, TILES, check_name
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.secrets import SECRET_OPTIONS, is_secret_option, redacted, secret_in_url
from rasteret_refs.refset.trust import was_written_here
from rasteret_refs.refset.versions import versions_of

LARGE_CHUNK: Final = 256 * 1024 * 1024
"""Bytes of a decoded chunk from which on it is flagged."""
LARGE_INLINED: Final = 64 * 1024 * 1024
"""Inlined bytes of one array's record file from which on they are flagged."""
LARGE_RATIO: Final = 5_000
"""Decoded bytes for one encoded byte of a reference: beyond what imagery, even of one colour, reaches by Deflate."""
MOST_FINDINGS: Final = 200
NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that whoever opens the set should know."""

    kind: str
    """`source`, `prefix`, `secret`, `codec`, `size`, `outside`, `hint`, `name`, `extra`, `damage`."""
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a set could touch."""

    location: str
    sha256: str
    written_here: bool
    """Whether this user wrote it on this machine: our reader then trusts its sources."""
    sources: tuple[str, ...]
    """Prefixes that the seal names."""
    schemes: Mapping[str, int]
    """Objects by scheme; `file` for local paths."""
    hosts: Mapping[str, int]
    """Objects by host or bucket; for local paths by directory."""
    codecs: Mapping[str, int]
    """Arrays by codec."""
    references: int
    inlined_chunks: int
    inlined_bytes: int
    """Of distinct inlined chunks."""
    largest_chunk: int
    """Bytes of the largest decoded chunk."""
    findings: tuple[Finding, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return asdict(self)


@dataclass(slots=True)
class _Tally:
    """What was seen so far."""

    findings: list[Finding] = field(default_factory=list)
    urls: set[str] = field(default_factory=set)
    references: int = 0
    inlined_chunks: int = 0
    inlined_bytes: int = 0
    largest_chunk: int = 0
    codecs: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, where: str, what: str) -> None:
        """Note a finding, as long as there is room."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(kind=kind, where=where, what=what))


def audit(refset: OpenedRefset) -> Audit:
    """Look through a set's own files, and at nothing else.

    Parameters
    ----------
    refset
        The opened set.

    Raises
    ------
    ObjectError
        Storage did not give a file of the set.
    """
    tally = _Tally()
    seal = refset.seal
    sizes = {}
    with contextlib.suppress(DamagedError):  # noted where its texts are read
        sizes = {url: version.size for url, version in versions_of(refset.all_scenes).items() if version is not None}
    for path in sorted(seal.records):
        _audit_array(refset, path, sizes, tally)
    own = was_written_here(refset.sha256)
    for url in sorted(tally.urls | sizes.keys()):
        _audit_url(url, seal.sources, tally, own=own)
    for prefix in seal.sources:
        if not own and (problem := foreign_problem(prefix)) is not None:
            tally.note("prefix", prefix, problem)
    for hint in () if own else unsafe_hints(seal.storage):
        secret = SECRET_OPTIONS.search(hint.rpartition(": ")[2]) and is_secret_option(hint.rpartition(": ")[2])
        tally.note(
            "secret" if secret else "hint", "refs.json", f"the storage hint {hint} is not taken over by our reader"
        )
    _audit_texts(refset, tally)
    _audit_files(refset, tally)
    return Audit(
        location=refset.location,
        sha256=refset.sha256,
        written_here=own,
        sources=tuple(seal.sources),
        schemes=dict(Counter(_scheme(url) for url in tally.urls).most_common()),
        hosts=dict(Counter(_host(url) for url in tally.urls).most_common()),
        codecs=dict(tally.codecs.most_common()),
        references=tally.references,
        inlined_chunks=tally.inlined_chunks,
        inlined_bytes=tally.inlined_bytes,
        largest_chunk=tally.largest_chunk,
        findings=tuple(tally.findings),
    )


def _audit_files(refset: OpenedRefset, tally: _Tally) -> None:
    """Look for names that readers misread, and for files that nobody sealed."""
    for path in sorted({key.rpartition("/")[0] for key in refset.metadata} - {""}):
        try:
            for part in path.split("/"):
                check_name(part, path)
        except RasteretRefsError as error:
            tally.note("name", path, str(error))
    for name in sorted((refset.sealed.files.names() or set()) - refset.seal.all_files().keys() - {SEAL}):
        tally.note("extra", name, "it lies in the set, but the seal does not name it")


def _audit_array(refset: OpenedRefset, path: str, sizes: Mapping[str, int | None], tally: _Tally) -> None:
    """Look at one array: its name, codecs, chunk size and references."""
    document = refset.metadata.get(f"{path}/.zarray")
    if document is None:
        tally.note("damage", path, "it has references, but no metadata")
        return
    tally.codecs.update(_codec_names(document))
    try:
        check_codecs(document, path)
        chunk = prod(document["chunks"]) * np.dtype(document["dtype"]).itemsize
    except (DamagedError, TypeError, ValueError) as error:
        unknown = sorted(set(_codec_names(document)) - CODECS)
        tally.note("codec", path, f"{error}" if not unknown else f"codecs that sets are not written with: {unknown}")
        chunk = 0
    tally.largest_chunk = max(tally.largest_chunk, chunk)
    if chunk > LARGE_CHUNK:
        tally.note("size", path, f"a chunk decodes to {chunk} bytes")
    for number in range(len(refset.seal.records[path])):
        try:
            table = refset.records(path, number)
        except DamagedError as error:
            tally.note("damage", path, str(error))
            continue
        _audit_records(table, f"{path}/refs.{number}.parq", chunk, sizes, tally)


def _audit_records(table: Any, where: str, chunk: int, sizes: Mapping[str, int | None], tally: _Tally) -> None:
    path, raw = table["path"].combine_chunks(), table["raw"].combine_chunks()
    inlined = raw.is_valid().to_numpy(zero_copy_only=False)
    stored = sum(len(value) for value in raw.dictionary.to_pylist() if value is not None)
    tally.inlined_chunks += int(inlined.sum())
    tally.inlined_bytes += stored
    if stored > LARGE_INLINED:
        tally.note("size", where, f"{stored} bytes of inlined chunks")
    offsets = table["offset"].to_numpy()[~inlined]
    counts = table["size"].to_numpy()[~inlined]
    codes = path.indices.to_numpy(zero_copy_only=False)[~inlined]
    tally.references += len(codes)
    urls = path.dictionary.to_pylist()
    used = np.unique(codes).tolist()
    tally.urls.update(urls[code] for code in used)
    if not len(codes):
        return
    wrong = (offsets < 0) | (counts < 1)
    if wrong.any():
        tally.note("outside", where, f"{int(wrong.sum())} references without a byte range")
    ends = np.array([sizes.get(url) if sizes.get(url) is not None else -1 for url in urls], np.int64)[codes]
    outside = (ends >= 0) & (offsets + counts > ends)
    if outside.any():
        first = int(np.argmax(outside))
        tally.note(
            "outside", where,
            f"{int(outside.sum())} references leave their object, such as [{offsets[first]}, "
            f"{offsets[first] + counts[first]}) of {redacted(urls[codes[first]])} with {ends[first]} bytes",
        )  # fmt: skip
    unknown = [urls[code] for code in used if urls[code] not in sizes]
    if unknown:
        tally.note("source", where, f"objects that the scene table does not have: {_some(unknown)}")
    if chunk and (ratio := chunk // max(int(counts.min()), 1)) > LARGE_RATIO:
        tally.note("size", where, f"a tile of {int(counts.min())} bytes decodes to {chunk}, {ratio} times as many")


def _audit_url(url: str, prefixes: Sequence[str], tally: _Tally, *, own: bool) -> None:
    if (secret := secret_in_url(url)) is not None:
        tally.note("secret", redacted(url), f"the URL carries a secret ({secret})")
    if not any(below(url, prefix) for prefix in prefixes):
        tally.note("source", redacted(url), "it lies outside the prefixes that the seal names")
    problem = foreign_problem(url)
    if problem is not None and not own:
        tally.note("source", redacted(url), problem)


def _audit_texts(refset: OpenedRefset, tally: _Tally) -> None:
    """Look for secrets in whatever else the set says: recipe, attributes, tables, failures."""
    texts = chain(_texts(refset.seal.recipe, "refs.json: recipe"), _texts(refset.metadata, ".zmetadata"))
    for where, text in texts:
        if (secret := secret_in_url(text)) is not None:
            tally.note("secret", where, f"a URL carries a secret ({secret})")
    for name, read in ((SCENES, lambda: refset.all_scenes), (TILES, refset.tiles)):
        try:
            table = read()
        except DamagedError as error:
            tally.note("damage", name, str(error))
            continue
        if table is None:
            continue
        for column in table.column_names:
            found = {secret_in_url(text) for text in texts_of(table[column])} - {None}
            if found:
                tally.note("secret", f"{name}: {column}", f"URLs carry secrets ({', '.join(sorted(map(str, found)))})")
    try:
        failures = refset.failures()
    except DamagedError as error:
        tally.note("damage", "failures.parquet", str(error))
        return
    for name in ("url", "message"):
        for text in failures[name].to_pylist() if name in failures.column_names else ():
            for word in (text or "").split():
                if secret_in_url(word) is not None:
                    tally.note("secret", f"failures.parquet: {name}", f"{redacted(word)} carries a secret")


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _texts(entry, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry, where)


def _codec_names(document: Mapping[str, Any]) -> list[str]:
    configs = [*(document.get("filters") or ()), document.get("compressor")]
    return [
        str(config.get("id") if isinstance(config, Mapping) else config) for config in configs if config is not None
    ]


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else "file"


def _host(url: str) -> str:
    if "://" not in url or url.startswith("file:"):
        return url.rpartition("/")[0] + "/"
    return redacted(url).partition("://")[2].partition("/")[0]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(redacted, names[:NAMED])) + more
