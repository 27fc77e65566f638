"""One kerchunk JSON file of all references, for readers that know no Parquet (fsspec's `reference://`, version 1).

The format: https://fsspec.github.io/kerchunk/spec.html.
"""

import base64
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rasteret_refs.errors import ExistsError, RefsetError
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.record import Record


def export_json(refset: OpenedRefset, out: Path, *, overwrite: bool = False) -> Path:
    """Write `out`, record file by record file, and move it into place when it is complete.

    Parameters
    ----------
    refset
        An opened set.
    out
        The file; some 150 bytes a reference.
    overwrite
        Replace a file that is there.

    Returns
    -------
    Path
        `out`: `fsspec.filesystem("reference", fo=out, …)` and `xr.open_dataset(out, engine="kerchunk")` take it.

    Raises
    ------
    ExistsError
        There is something already.
    DamagedError
        A manifest is not what was sealed; nothing is written then.
    RefsetError
        The place cannot be written.
    """
    if out.exists() and not (overwrite and out.is_file()):
        raise ExistsError(f"{out}: expected no output yet, got an existing one (overwrite=True replaces a file)")
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8") as file:
            _write(refset, file)
        part.replace(out)
    except OSError as error:
        if isinstance(error, RefsetError):
            raise
        raise RefsetError(f"{out}: expected a place to write to, got: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return out


def _write(refset: OpenedRefset, file: IO[str]) -> None:
    file.write('{"version":1,"refs":{')
    separator = ""
    for key, value in itertools.chain(_documents(refset), _references(refset)):
        file.write(f"{separator}{json.dumps(key)}:{value}")
        separator = ",\n"
    file.write("}}\n")


def _documents(refset: OpenedRefset) -> Iterator[tuple[str, str]]:
    """Zarr's metadata: JSON inside a JSON string."""
    for key, document in refset.metadata.items():
        yield key, json.dumps(json.dumps(document, separators=(",", ":"), allow_nan=False))


def _references(refset: OpenedRefset) -> Iterator[tuple[str, str]]:
    for key, document in refset.metadata.items():
        if key.endswith("/.zarray"):
            yield from _array(refset, key.removesuffix("/.zarray"), document)


def _array(refset: OpenedRefset, path: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    grid = [-(-size // chunk) for size, chunk in zip(document["shape"], document["chunks"], strict=True)]
    total = math.prod(grid)
    indices = itertools.product(*(range(count) for count in grid))
    for number in range(-(-total // refset.record_size)):
        record = Record.from_table(refset.records(path, number), f"{path}/refs.{number}.parq")
        for row in range(min(refset.record_size, total - number * refset.record_size)):
            name = ".".join(map(str, next(indices))) or "0"
            yield f"{path}/{name}", _text(record.reference(row))


def _text(reference: Any) -> str:
    if isinstance(reference, bytes):
        return json.dumps("base64:" + base64.b64encode(reference).decode("ascii"))
    return json.dumps(reference, separators=(",", ":"))
