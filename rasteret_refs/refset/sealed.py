"""A reference set's files, each compared with the seal before anybody sees its contents."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Self

import pyarrow as pa

from rasteret_refs.errors import DamagedError, NotFoundError, ObjectError, RefsetError
from rasteret_refs.refset.derived import Derived, derived_coordinates, derived_table
from rasteret_refs.refset.documents import check_documents
from rasteret_refs.refset.files import SetFiles
from rasteret_refs.refset.layout import SEAL, ZMETADATA, record_name
from rasteret_refs.refset.manifest import read_record
from rasteret_refs.refset.seal import LARGEST_SEAL, FileHash, Seal

ATTEMPTS: Final = 4
"""How often a set that is being replaced while it is read is looked at anew."""


class SealedSet:
    """An opened set: its seal, its Zarr metadata, and verified reading of everything else.

    While a set is open, it may be appended to. Files then belong to a newer seal; they are taken when that seal names
    ours among its `previous` ones, for then nothing that we know has changed its place.

    Parameters
    ----------
    files
        Reads the set's files.
    seal, digest
        The seal, and the sha256 of its file.
    zmetadata
        The checked bytes of `.zmetadata`.
    """

    def __init__(self, files: SetFiles, seal: Seal, digest: str, zmetadata: bytes) -> None:
        try:
            document = loads(zmetadata)
            documents, record_size = document["metadata"], int(document["record_size"])
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise DamagedError(
                f"{files.location}/{ZMETADATA}: expected kerchunk-Parquet metadata, got {error}"
            ) from error
        if not isinstance(documents, Mapping) or record_size != seal.record_size or record_size < 1:
            raise DamagedError(
                f"{files.location}/{ZMETADATA}: expected documents by key and record_size {seal.record_size}, "
                f"got {type(documents).__name__} and {record_size}"
            )
        self.files = files
        self.seal = seal
        self.digest = digest
        self.zmetadata = zmetadata
        self.stored: Mapping[str, Any] = documents
        """Zarr v2 metadata documents by key, as `.zmetadata` has them."""
        self.record_size = record_size
        """References a full record file."""
        self._current = seal

    @property
    def documents(self) -> Mapping[str, Any]:
        """Zarr v2 metadata documents by key, those of coordinates that are not stored among them (`derived`)."""
        return self._derived[0]

    @cached_property
    def _derived(self) -> tuple[Mapping[str, Any], Mapping[str, Derived]]:
        return derived_coordinates(self.stored)

    @classmethod
    def open(cls, files: SetFiles, *, sha256: str | None = None) -> Self:
        """Read and check `refs.json` and `.zmetadata`.

        Parameters
        ----------
        files
            Reads the set's files.
        sha256
            Hash that `refs.json` must have: pins the whole set.

        Raises
        ------
        NotFoundError
            There is no `refs.json`: not a reference set.
        DamagedError
            Altered, or another set than the pinned one.
        FormatVersionError
            Written in a newer format.
        """
        for attempt in range(ATTEMPTS):
            data = _first_read(files)
            digest = hashlib.sha256(data).hexdigest()
            if sha256 is not None and digest != sha256.lower():
                raise DamagedError(f"{files.location}/{SEAL}: expected the pinned sha256 {sha256}, got {digest}")
            seal = Seal.from_bytes(data, files.location)
            try:
                zmetadata = _checked(files, seal.files.get(ZMETADATA), ZMETADATA)
            except DamagedError:
                # Somebody may have published a newer state between the two reads.
                if attempt + 1 == ATTEMPTS or files.read(SEAL, LARGEST_SEAL) == data:
                    raise
                continue
            found = cls(files, seal, digest, zmetadata)
            check_documents(found.stored, seal, files.location)
            return found
        raise DamagedError(
            f"{files.location}: expected a set that stays for an instant, got {ATTEMPTS} states in a row"
        )

    def read(self, name: str) -> bytes:
        """Return a file other than a record file.

        Raises
        ------
        DamagedError
            Missing, altered, or not in the seal.
        """
        return self._verified(name, lambda seal: seal.files.get(name))

    def table(self, path: str, number: int) -> pa.Table:
        """Return a record file of an array.

        Returns
        -------
        pyarrow.Table
            Columns as in `manifest.SCHEMA`.

        Raises
        ------
        DamagedError
            Missing, altered, not in the seal, or not a record file.
        """
        made_from = self._derived[1].get(path)
        if made_from is not None:
            return derived_table(self, made_from, number)
        name = record_name(path, number)
        data = self._verified(name, lambda seal: dict(enumerate(seal.records.get(path, ()))).get(number))
        try:
            return read_record(data)
        except RefsetError as error:
            raise DamagedError(f"{self.files.location}/{name}: {error}") from error

    def has(self, name: str) -> bool:
        """Tell whether the seal names a file other than a record file."""
        return name in self._current.files

    @property
    def is_current(self) -> bool:
        """Whether files still come from the state that was opened."""
        return self._current is self.seal

    @property
    def sources(self) -> tuple[str, ...]:
        """Prefixes of the objects that references may lead to."""
        return self._current.sources

    def _verified(self, name: str, sealed: Any) -> bytes:
        for _ in range(ATTEMPTS):
            current = self._current
            try:
                return _checked(self.files, sealed(current), name)
            except DamagedError:
                if self._current is not current:  # another thread has found the newer state meanwhile
                    continue
                newer = self._newer(current)
                if newer is None:
                    raise
                self._current = newer
        return _checked(self.files, sealed(self._current), name)

    def _newer(self, known: Seal) -> Seal | None:
        """Return the seal that stands there now, if it is a later state of what was opened and not `known`.

        Not compared with `_current`, which another thread may have set to this very seal meanwhile.
        """
        try:
            data = self.files.read(SEAL, LARGEST_SEAL)
            seal = Seal.from_bytes(data, self.files.location)
        except (ObjectError, RefsetError):
            return None
        return seal if seal != known and self.digest in seal.previous else None


def _first_read(files: SetFiles) -> bytes:
    """Return the seal's bytes; where there are none, say what a set is."""
    try:
        data = files.read(SEAL, LARGEST_SEAL)
    except NotFoundError as error:
        raise NotFoundError(f"{files.location}: expected a reference set, got no {SEAL} there") from error
    if len(data) > LARGEST_SEAL:
        raise DamagedError(f"{files.location}/{SEAL}: expected a seal of at most {LARGEST_SEAL} bytes, got more")
    return data


def loads(data: bytes) -> Any:
    """Parse JSON, with orjson where it is installed (three times faster on `.zmetadata` of many groups)."""
    try:
        import orjson
    except ImportError:
        return json.loads(data)
    return orjson.loads(data)


def _checked(files: SetFiles, sealed: FileHash | None, name: str) -> bytes:
    place = f"{files.location}/{name}"
    if sealed is None:
        raise DamagedError(f"{place}: expected it in {SEAL}, got no such entry")
    try:
        data = files.read(name, sealed.size)
    except NotFoundError as error:  # a missing file is damage, never a missing chunk
        raise DamagedError(f"{place}: expected a file, as sealed in {SEAL}, got none") from error
    sealed.check(data, place)
    return data
