"""The seal `refs.json`: what a reference set is, how it was built, what it may touch, and the hash of every file."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from rasteret_refs.errors import DamagedError, FormatVersionError, RefsetError
from rasteret_refs.refset.layout import FORMAT_VERSION, SEAL, record_name
from rasteret_refs.refset.secrets import refuse_secrets_within

_BODY_END: Final = b"\n}\n"
_SIGNATURE_START: Final = b',\n "sha256": "'

LARGEST_SEAL: Final = 1 << 28
"""Bytes of `refs.json`: it names three million record files in that."""
LARGEST_FILE: Final = 1 << 32
"""Bytes of any other file of a set, which is read whole."""
MOST_RECORDS: Final = 1 << 24
"""References that a record file may have: a hundred times what is written."""
_KINDS: Final[Mapping[str, Any]] = {
    "format": str, "format_version": int, "versions": Mapping, "layout": str, "record_size": int, "sources": list,
    "storage": Mapping, "previous": list, "recipe": Mapping, "files": Mapping, "manifests": Mapping,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHash:
    """What a sealed file must be."""

    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits."""

    @classmethod
    def of(cls, data: Any) -> Self:
        """Hash a file's bytes."""
        view = memoryview(data)
        return cls(size=view.nbytes, sha256=hashlib.sha256(view).hexdigest())

    def check(self, data: Any, name: str) -> None:
        """Compare bytes with the seal.

        Raises
        ------
        DamagedError
            Another size or hash; the message names the file.
        """
        size = memoryview(data).nbytes
        if size != self.size:
            raise DamagedError(f"{name}: expected {self.size} bytes as sealed in {SEAL}, got {size}")
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise DamagedError(f"{name}: expected sha256 {self.sha256} as sealed in {SEAL}, got {found}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The contents of `refs.json`."""

    layout: str
    """`grids` or `stack`."""
    record_size: int
    """References a full record file; the same for the life of the set."""
    sources: tuple[str, ...]
    """Prefixes that all references begin with: what a reader of this set may touch."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How the set was built, as its builder records it."""
    storage: Mapping[str, Any] = field(default_factory=dict)
    """Prefix → hints for storage, without secrets."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Libraries that wrote the set."""
    files: Mapping[str, FileHash] = field(default_factory=dict)
    """Path relative to the set → hash, for all files but record files and the seal itself."""
    records: Mapping[str, tuple[FileHash, ...]] = field(default_factory=dict)
    """Array path → hash of each of its record files."""
    previous: tuple[str, ...] = ()
    """sha256 of the seals of older states of this set, oldest first: in each of them, a reference had the same pixels
    at the same place, so a reader that opened an older state may go on with files of this one."""
    format_version: int = FORMAT_VERSION

    def all_files(self) -> dict[str, FileHash]:
        """Return every sealed file by its path relative to the set."""
        manifests = {
            record_name(path, number): sealed
            for path, table in self.records.items()
            for number, sealed in enumerate(table)
        }
        return {**self.files, **manifests}

    def to_bytes(self) -> bytes:
        """Serialise deterministically: same contents, same bytes.

        Raises
        ------
        RefsetError
            A secret in the recipe or the hints, or a value that JSON cannot hold.
        """
        document = {
            "format": "rasteret_refs",
            "format_version": self.format_version,
            "versions": dict(sorted(self.versions.items())),
            "layout": self.layout,
            "record_size": self.record_size,
            "sources": list(self.sources),
            "storage": self.storage,
            "recipe": self.recipe,
            "files": {path: _to_text(self.files[path]) for path in sorted(self.files)},
            "manifests": {path: [_to_text(f) for f in self.records[path]] for path in sorted(self.records)},
            "previous": list(self.previous),
        }
        for name in ("storage", "recipe", "sources"):
            refuse_secrets_within(document[name], f"{SEAL}: {name}")
        try:
            body = (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise RefsetError(f"{SEAL}: expected a recipe and hints that JSON holds, got: {error}") from error
        return body.removesuffix(_BODY_END) + _signature(body)

    @classmethod
    def from_bytes(cls, data: bytes, location: str) -> Self:
        """Parse `refs.json`.

        Parameters
        ----------
        data
            The file's bytes.
        location
            Where the set lies, for messages.

        Raises
        ------
        FormatVersionError
            Written in a newer format.
        DamagedError
            Not such a document, or altered.
        """
        head, _, _ = data.rpartition(_SIGNATURE_START)
        if data[len(head) :] != _signature(head + _BODY_END):
            raise DamagedError(f"{location}/{SEAL}: expected a seal that ends with its own sha256, got an altered one")
        try:
            document = json.loads(data)
            if document["format"] != "rasteret_refs":
                raise RefsetError(f"{location}: expected the format rasteret_refs, got {document['format']!r}")
            version = int(document["format_version"])
            if version > FORMAT_VERSION:
                raise FormatVersionError(
                    f"{location}: expected format version {FORMAT_VERSION} or older, got {version}, "
                    f"written by {document.get('versions')}; a newer rasteret_refs reads it"
                )
            _check_kinds(document)
            return cls(
                format_version=version,
                versions=document["versions"],
                layout=document["layout"],
                record_size=int(document["record_size"]),
                sources=tuple(document["sources"]),
                storage=document["storage"],
                previous=tuple(document["previous"]),
                recipe=document["recipe"],
                files={_inside(path): _from_text(text) for path, text in document["files"].items()},
                records={_inside(path): tuple(map(_from_text, table)) for path, table in document["manifests"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise DamagedError(f"{location}/{SEAL}: expected a seal, got a document without it: {error}") from error


def source_prefixes(urls: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes that cover these URLs: scheme and host (or bucket), and for local paths the common directory.

    Sorted; a container in the user part of an `abfs` URL belongs to the host.
    """
    prefixes: set[str] = set()
    local: list[str] = []
    for url in urls:
        scheme, separator, rest = url.partition("://")
        if separator and scheme not in {"file", "local"}:
            prefixes.add(f"{scheme}://{rest.partition('/')[0]}/")
        else:
            local.append((rest if separator else url).rpartition("/")[0] + "/")
    if local:
        prefixes.add(_common_directory(local))
    return tuple(sorted(prefixes))


def _common_directory(directories: list[str]) -> str:
    """Return the deepest directory above all of these; each ends in a slash."""
    first, last = min(directories), max(directories)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, length) + 1] if length < len(first) else first


def _check_kinds(document: Mapping[str, Any]) -> None:
    """Refuse values of other kinds than a seal has; what they say is for others to judge."""
    for name, kind in _KINDS.items():
        if not isinstance(document[name], kind) or isinstance(document[name], bool):
            raise TypeError(f"{name} is {str(document[name])[:100]!r}")
    texts = [*document["sources"], *document["previous"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("sources or previous are no texts")
    if not 1 <= document["record_size"] <= MOST_RECORDS:
        raise ValueError(f"record_size is {document['record_size']}")
    if not all(isinstance(options, str | Mapping) for options in document["storage"].values()):
        raise TypeError("storage hints are neither texts nor objects")


def _signature(body: bytes) -> bytes:
    """Return the end of the file that replaces a body's last brace: the body's own hash as last entry."""
    return _SIGNATURE_START + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def _to_text(sealed: FileHash) -> str:
    return f"{sealed.size}:{sealed.sha256}"


def _from_text(text: str) -> FileHash:
    size, digest = text.split(":")
    if len(digest) != 2 * hashlib.sha256().digest_size:
        raise ValueError(f"a sha256 of {len(digest)} digits")
    if not 0 <= int(size) <= LARGEST_FILE:
        raise ValueError(f"a file of {size[:30]} bytes")
    return FileHash(size=int(size), sha256=digest)


def _inside(path: str) -> str:
    """Refuse a path that leaves the set: a seal from a stranger must not make us read elsewhere."""
    if not path or path.startswith("/") or "\\" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError(f"the path {path!r} leaves the reference set")
    return path
