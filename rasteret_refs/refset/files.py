"""Where a reference set's own files are read from: a local directory, or a prefix behind any storage."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rasteret_refs.errors import NotFoundError, ObjectError
from rasteret_refs.objects.location import canonical, is_url
from rasteret_refs.refset.trees import files_below


class SetFiles(Protocol):
    """Reads whole files of one reference set; picklable, safe in threads and after a fork."""

    location: str
    """The set's directory or URL, without trailing slash."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return a file by its name relative to the set.

        Parameters
        ----------
        name
            Relative to the set.
        most
            Bytes that the file should have at most; of a larger one no more than one byte further need be read.

        Raises
        ------
        NotFoundError
            There is no such file.
        ObjectError
            Storage did not give it.
        """
        ...

    def names(self) -> set[str] | None:
        """Return the names of all files there are, or None where storage has no listings."""
        ...


def normalised(location: str | os.PathLike[str]) -> str:
    """Return a set's location as an absolute path or a URL, without trailing slash."""
    text = canonical(os.fspath(location))
    return text if text == "/" else text.rstrip("/")


class LocalFiles:
    """Files of a directory."""

    def __init__(self, location: str) -> None:
        self.location = location

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `SetFiles`; a file with a hole may claim more bytes than there is memory."""
        path = Path(self.location, name)
        try:
            if stat.S_ISREG(path.stat().st_mode):
                with path.open("rb") as file:
                    # Of the opened file: a larger one may have taken the place of the one that was looked at.
                    size = os.fstat(file.fileno()).st_size
                    return file.read(-1 if most is None else min(most, size) + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{path}: expected a file, got none") from error
        except OSError as error:
            raise ObjectError(f"{path}: expected a readable file, got: {error}") from error
        # A pipe or a device, by a link perhaps: it would be read for ever.
        raise ObjectError(f"{path}: expected a file, got something else of that name")

    def names(self) -> set[str] | None:
        """See `SetFiles`."""
        return files_below(Path(self.location))


class ObjectFiles:
    """Files behind storage, through `objects`."""

    def __init__(self, location: str, storage: Mapping[str, Any] | None = None) -> None:
        from rasteret_refs.objects.client import Objects

        self.location = location
        self._objects = Objects(storage)

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `SetFiles`; objects are read whole: not every server gives ranges."""
        del most
        from rasteret_refs.objects.blocking import run

        return run(self._objects.read(f"{self.location}/{name}"))

    def names(self) -> set[str] | None:
        """See `SetFiles`."""
        from rasteret_refs.objects.blocking import run

        if self.location.startswith(("http://", "https://")):
            return None
        return {name for name, _ in run(self._objects.list(self.location))}


def files_of(location: str | os.PathLike[str], storage: Mapping[str, Any] | None = None) -> SetFiles:
    """Return what reads the files of a set, by where it lies."""
    text = normalised(location)
    return ObjectFiles(text, storage) if is_url(text) else LocalFiles(text)
