"""Parquet, CSV and Arrow files, local or remote, as Arrow datasets; remote ones read through `objects/`."""

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.sources.fetching import list_objects
from rasteret_refs.sources.hrefs import is_url, scheme

FORMATS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".geoparquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
"""Endings of tables, and pyarrow's names of their formats."""


def table_format(location: str) -> str | None:
    """Pyarrow's format of a path or URL by its ending, or None."""
    path = location.split("?", 1)[0].lower() if is_url(location) else location.lower()
    return next((name for ending, name in FORMATS.items() if path.endswith(ending)), None)


def open_dataset(location: str, storage: Mapping[str, Any] | None, *, form: str | None = None) -> ds.Dataset:
    """Arrow dataset of a file or of a directory of Parquet files (Hive partitions understood).

    Raises
    ------
    NotFoundError
        Nothing there, or a directory without Parquet files.
    SourceError
        Not what its ending says.
    """
    form = form or table_format(location) or "parquet"
    try:
        if not is_url(location):
            return _dataset(location, form, None)
        if table_format(location) is not None:
            return _dataset(_REMOTE_ROOT + location, form, _remote(storage, {}))
        if scheme(location) in {"http", "https"}:
            raise SourceError(
                f"{location}: expected the URL of a Parquet file, found a folder, which cannot be listed over http"
            )
        folder = location.rstrip("/") + "/"
        sizes = {folder + key: size for key, size in list_objects(folder, storage) if key.endswith(".parquet")}
        if not sizes:
            raise NotFoundError(f"{location}: no Parquet files below this prefix")
        names = [_REMOTE_ROOT + name for name in sorted(sizes)]
        partitioning = ds.HivePartitioning.discover(infer_dictionary=False)
        return ds.dataset(
            names,
            format="parquet",
            filesystem=_remote(storage, sizes),
            partitioning=partitioning,
            partition_base_dir=_REMOTE_ROOT + folder.rstrip("/"),
        )
    except FileNotFoundError as error:
        if isinstance(error, NotFoundError):
            raise
        raise NotFoundError(f"{location}: no such file") from error
    except pa.ArrowInvalid as error:
        raise SourceError(f"{location}: expected {form}, found something else: {_first_line(error)}") from error


def _dataset(location: str, form: str, filesystem: Any) -> ds.Dataset:
    if form == "parquet":
        return ds.dataset(location, format="parquet", partitioning="hive", filesystem=filesystem)
    return ds.dataset(location, format=form, filesystem=filesystem)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# pyarrow takes `s3://…` as one of its own file systems, and strips `//`: URLs go through it as names below a root.
_REMOTE_ROOT = "remote:"


def _remote(storage: Mapping[str, Any] | None, sizes: Mapping[str, int]) -> Any:
    return fs.PyFileSystem(_ObjectsHandler(Objects(storage), sizes))


class _ObjectFile(io.RawIOBase):
    """A remote object as a seekable file; each read is one request."""

    def __init__(self, objects: Objects, url: str, size: int) -> None:
        self._objects, self._url, self._size, self._position = objects, url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._size, self._position + size)
        if stop <= self._position:
            return b""
        fetched = run(self._objects.fetch(self._url, self._position, stop, size=self._size))
        self._position = stop
        return bytes(fetched.data)

    def readinto(self, buffer: Any, /) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _ObjectsHandler(fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """As much of a pyarrow file system as reading known files takes."""

    def __init__(self, objects: Objects, sizes: Mapping[str, int]) -> None:
        self._objects = objects
        self._sizes = dict(sizes)

    def _size(self, url: str) -> int:
        if url not in self._sizes:
            # The size comes with the answer to any request; one byte will do.
            self._sizes[url] = run(self._objects.fetch(url, 0, 1)).size
        return self._sizes[url]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def get_type_name(self) -> str:
        return "rasteret_refs"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[Any]:
        return [fs.FileInfo(path, fs.FileType.File, size=self._size(path.removeprefix(_REMOTE_ROOT))) for path in paths]

    def get_file_info_selector(self, selector: Any) -> list[Any]:
        raise NotImplementedError("files are listed before a dataset is made")

    def open_input_file(self, path: str) -> Any:
        url = path.removeprefix(_REMOTE_ROOT)
        return pa.PythonFile(_ObjectFile(self._objects, url, self._size(url)), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("sources are read, never written")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse
