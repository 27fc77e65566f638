"""Sets as a stranger could make them: sealed without a flaw, and hostile in what they say."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from rasteret_refs.cli import main
from rasteret_refs.refset.layout import SEAL, ZMETADATA, record_name
from rasteret_refs.refset.manifest import read_record, record_bytes
from rasteret_refs.refset.seal import FileHash, Seal

IMAGE = "factor_1/image"


def forged(
    base: Path,
    out: Path,
    *,
    url: str | None = None,
    sources: tuple[str, ...] | None = None,
    storage: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    documents: Callable[[dict[str, Any]], None] | None = None,
    columns: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    array: str = IMAGE,
) -> Path:
    """Copy a set with other references, prefixes, hints or metadata, and seal it anew: nobody here "wrote" it.

    Parameters
    ----------
    url
        Replaces the first object of `array`.
    sources, storage, recipe
        Of the new seal; None: those of the base.
    documents
        Changes the Zarr metadata in place.
    columns
        Changes the columns of the first record file of `array`.
    """
    shutil.copytree(base, out)
    seal = Seal.from_bytes((out / SEAL).read_bytes(), str(out))
    files, records = dict(seal.files), {path: list(table) for path, table in seal.records.items()}
    if documents is not None:
        document = json.loads((out / ZMETADATA).read_text())
        documents(document["metadata"])
        data = json.dumps(document).encode()
        (out / ZMETADATA).write_bytes(data)
        files[ZMETADATA] = FileHash.of(data)
    if url is not None or columns is not None:
        name = record_name(array, 0)
        table = read_record((out / name).read_bytes())
        found = {column: table[column].to_pylist() for column in table.column_names}
        if url is not None:
            first = found["path"][0]
            found["path"] = [url if path == first else path for path in found["path"]]
        if columns is not None:
            found = columns(found)
        new = pa.table(
            {
                "path": pa.array(found["path"], pa.string()).dictionary_encode(),
                "offset": pa.array(found["offset"], pa.int64()),
                "size": pa.array(found["size"], pa.int64()),
                "raw": pa.array(found["raw"], pa.binary()).dictionary_encode(),
            },
        ).cast(table.schema)
        data = record_bytes(new)
        (out / name).write_bytes(data)
        records[array][0] = FileHash.of(data)
    new_seal = Seal(
        layout=seal.layout,
        record_size=seal.record_size,
        sources=seal.sources if sources is None else sources,
        recipe=seal.recipe if recipe is None else recipe,
        storage=seal.storage if storage is None else storage,
        versions=seal.versions,
        files=files,
        records={path: tuple(table) for path, table in records.items()},
        previous=seal.previous,
    )
    with mock.patch("rasteret_refs.refset.seal.refuse_secrets_within"):  # a stranger's library refuses nothing
        (out / SEAL).write_bytes(new_seal.to_bytes())
    return out


def reported(out: Path) -> list[dict[str, str]]:
    """Audit on the command line, in both forms: exit code 1, findings, and nothing that moves a cursor."""
    text = CliRunner().invoke(main, ["audit", str(out)])
    told = CliRunner().invoke(main, ["audit", str(out), "--json"])
    assert text.exit_code == told.exit_code == 1, text.output + told.output
    assert text.exception is None or isinstance(text.exception, SystemExit), text.exception
    assert "finding" in text.output or "error:" in text.output
    assert all(line.isprintable() for line in (text.output + told.output).split("\n"))
    findings: list[dict[str, str]] = json.loads(told.output)["findings"]
    assert findings
    return findings


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Write a table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **{"compression": "zstd", "store_schema": False, **options})
    return sink.getvalue()


def resealed(base: Path, out: Path, name: str, data: bytes) -> Path:
    """Copy a set with another file in the place of one, under a seal that fits."""
    shutil.copytree(base, out)
    seal = Seal.from_bytes((out / "refs.json").read_bytes(), str(out))
    (out / name).write_bytes(data)
    (out / "refs.json").write_bytes(replace(seal, files={**seal.files, name: FileHash.of(data)}).to_bytes())
    return out


def resolve_to_this_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a name mean 127.0.0.1, whichever event loop asks (uvloop has a resolver of its own)."""
    genuine = aiohttp.ThreadedResolver.resolve

    async def lying(self: Any, host: str, *arguments: Any, **options: Any) -> Any:
        return await genuine(self, "127.0.0.1" if host == name else host, *arguments, **options)

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", lying)
