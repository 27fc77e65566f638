"""Attacks by a set's own documents: metadata, seals, names, files that are none, and what the audit says of them."""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.cli import main
from rasteret_refs.errors import (
    DamagedError,
    ObjectError,
    RasteretRefsError,
)
from tests.trust.forge import IMAGE, forged, reported, resealed
from tests.trust.set_cases import base_files, with_file


def change(documents: dict[str, Any], **fields: Any) -> None:
    documents[f"{IMAGE}/.zarray"] |= fields


DOCUMENTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "text of 8 GB": lambda d: d["factor_1/id/.zarray"].update(dtype="<U2000000000"),
    "a chunk of 4 GiB": lambda d: change(d, shape=[3, 32768, 32768], chunks=[1, 32768, 32768], dtype="<f4"),
    "filters without end": lambda d: change(d, filters=[{"id": "rasteret_refs.fill_order", "version": 1}] * 100_000),
    "shape 1e999": lambda d: change(d, shape=[float("inf"), 192, 192]),
    "a key that leaves": lambda d: d.update({"../../x/.zgroup": {"zarr_format": 2}}),
    "an absolute key": lambda d: d.update({"/etc/.zgroup": {"zarr_format": 2}}),
    "a chunk as document": lambda d: d.update({f"{IMAGE}/0.0.0": {"x": 1}}),
    "attributes that are a text": lambda d: d.update({f"{IMAGE}/.zattrs": "x"}),
    "delta over objects": lambda d: change(
        d, filters=[{"id": "delta", "dtype": "|O", "astype": "|O"}], compressor=None
    ),
    "delta of 2 GB texts": lambda d: change(d, filters=[{"id": "delta", "dtype": "<U500000000"}], compressor=None),
    "a codec of another package": lambda d: change(d, filters=[{"id": "imagecodecs_tiff"}]),
    "a codec's module": lambda d: change(d, compressor={"id": "os:system"}),
    "an object dtype": lambda d: change(d, dtype="|O"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_metadata_is_refused_soon_and_reported(
    local_refs: Path, tmp_path: Path, scenes: Path, name: str
) -> None:
    out = forged(local_refs, tmp_path / "x.refs", documents=DOCUMENTS[name])
    began = time.process_time()
    with pytest.raises(RasteretRefsError):
        read_arrays(out, str(scenes))
    assert time.process_time() - began < 1
    reported(out)


def read_arrays(out: Path, allow: str) -> None:
    """Open a set and read its images and ids."""
    refs = rr.open(out, allow=allow)
    for path in (IMAGE, "factor_1/id"):
        refs.reader.read(path)
    assert len(refs.scenes)


SEALS: dict[str, bytes] = {
    "nested without end": b'{"format": ' + b"[" * 200_000,
    "a version beyond numbers": base_files()["refs.json"].partition(b'"versions"')[0].replace(b": 1,", b": 1e999,"),
    "sources that are no texts": b"sources",
    "a record size without end": b"record_size",
}


@pytest.mark.parametrize("name", SEALS)
def test_hostile_seals_are_refused(tmp_path: Path, name: str) -> None:
    data = SEALS[name]
    unsigned = base_files()["refs.json"].rpartition(b',\n "sha256"')[0]
    if data == b"sources":
        data = unsigned.replace(b'"sources": [', b'"sources": [1, ')
    elif data == b"record_size":
        data = unsigned.replace(b'"record_size": 10000', b'"record_size": 1000000000000000000')
        assert data != unsigned
    out = tmp_path / "x.refs"
    write_files(out, with_file("refs.json", data))
    with pytest.raises(DamagedError):
        rr.open(out)
    reported(out)


@pytest.mark.parametrize("name", ["refs.json", "scenes.parquet", f"zarr.parq/{IMAGE}/refs.0.parq"])
@pytest.mark.parametrize("what", ["pipe", "device", "directory", "loop"])
def test_files_of_a_set_that_are_no_files_end_at_once(local_refs: Path, tmp_path: Path, name: str, what: str) -> None:
    """A link to /dev/zero was read until memory ended, a pipe for ever."""
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    (out / name).unlink()
    if what == "pipe":
        os.mkfifo(out / name)
    elif what == "device":
        (out / name).symlink_to("/dev/zero")
    elif what == "directory":
        (out / name).mkdir()
    else:
        (out / name).symlink_to(out / name)
    with pytest.raises((ObjectError, DamagedError)):
        read_arrays(out, "/")
    with pytest.raises((ObjectError, DamagedError)):
        rr.open(out).verify()


@pytest.mark.parametrize("name", ["refs.json", ".zmetadata", "scenes.parquet", f"zarr.parq/{IMAGE}/refs.0.parq"])
def test_files_of_a_set_with_a_hole_take_no_memory(local_refs: Path, tmp_path: Path, name: str) -> None:
    """A terabyte of nothing takes no room on a disk, and was a `MemoryError` when it was read."""
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    path = next(out.rglob(name.rpartition("/")[2])) if name == ".zmetadata" else out / name
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedError):
        read_arrays(out, "/")
    with pytest.raises(DamagedError):
        rr.open(out).verify()


def test_seals_name_no_file_beyond_memory(tmp_path: Path) -> None:
    seal = base_files()["refs.json"].rpartition(b',\n "sha256"')[0]
    size = re.search(rb'"scenes.parquet": "([0-9]+):', seal)
    assert size is not None
    for large in (b"99999999999999", b"-1", b"9" * 5000):
        data = seal.replace(size[1] + b":", large + b":")
        write_files(tmp_path / f"{len(large)}.refs", with_file("refs.json", data))
        with pytest.raises(DamagedError):
            rr.open(tmp_path / f"{len(large)}.refs")


def write_files(out: Path, files: Mapping[str, bytes]) -> None:
    for file, content in files.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(content)


def test_links_to_files_are_files(local_refs: Path, tmp_path: Path) -> None:
    """Hugging Face's cache and DVC keep sets so."""
    out = tmp_path / "x.refs"
    out.mkdir()
    for path in local_refs.rglob("*"):
        target = out / path.relative_to(local_refs)
        target.mkdir() if path.is_dir() else target.symlink_to(path)
    assert rr.open(out).verify().files
    assert rr.open(out).audit().is_clean


def test_files_that_nobody_sealed_are_reported(local_refs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    (out / "zarr.parq" / "sitecustomize.py").write_text("print('hello')")
    (finding,) = rr.open(out).audit().findings
    assert (finding.kind, finding.where) == ("extra", "zarr.parq/sitecustomize.py")


def test_the_audit_s_text_is_neither_markup_nor_control(local_refs: Path, tmp_path: Path) -> None:
    """rich took `[/x]` in a name for markup and ended in `MarkupError`; escapes reached the terminal."""
    evil = "https://images.example.org/[/bold][black on black]\x1b[2J\x1b[1A\u202etif.x\nresult  sound"
    out = forged(local_refs, tmp_path / "x.refs", url=evil, sources=("https://images.example.org/",))
    findings = reported(out)
    assert any("[/bold]" in finding["what"] + finding["where"] for finding in findings)
    assert "[/bold]" in CliRunner().invoke(main, ["audit", str(out)]).output


def test_secrets_anywhere_in_a_set_are_reported(local_refs: Path, tmp_path: Path) -> None:
    """The audit looked at the objects' URLs and the recipe; attributes and other columns may hold URLs as well."""
    from rasteret_refs.refset.geoparquet import _table_bytes

    evil = "https://images.example.org/thumbnail.png?X-Amz-Signature=SECRETSIG"
    out = forged(local_refs, tmp_path / "x.refs", documents=lambda d: d[f"{IMAGE}/.zattrs"].update(gdal={"LINK": evil}))
    (finding,) = [found for found in reported(out) if found["kind"] == "secret"]
    assert "LINK" in finding["where"]
    table = rr.open(local_refs).refset.all_scenes
    table = table.append_column("thumbnail", pa.array([{"href": evil}] * len(table)))
    other = resealed(local_refs, tmp_path / "y.refs", "scenes.parquet", bytes(_table_bytes(table)))
    (finding,) = [found for found in reported(other) if found["kind"] == "secret"]
    assert finding["where"] == "scenes.parquet: thumbnail"
    assert "SECRET" not in str(reported(other))


def test_a_reference_of_more_bytes_than_its_file_takes_no_memory(
    local_refs: Path, tmp_path: Path, scenes: Path
) -> None:
    """`pread` of 2**62 bytes was a `MemoryError`; so many are not asked for any more."""
    out = forged(
        local_refs, tmp_path / "x.refs", columns=lambda c: c | {"size": [2**25 if size else 0 for size in c["size"]]}
    )
    with pytest.raises(ObjectError, match="the object has only"):
        rr.open(out, allow=str(scenes)).reader.read(IMAGE)


def test_notebooks_draw_no_nonsense_for_ever(local_refs: Path, tmp_path: Path) -> None:
    """A footprint of 1e300 degrees drew lines without end; damaged ones raised `struct.error` from the display."""
    import struct

    from rasteret_refs.refset.views_map import footprint_map

    ring = struct.pack("<10d", 0, 0, 1e300, 0, 1e300, 1e300, 0, 1e300, 0, 0)
    wkbs = [b"\x01\x03\0\0\0\x01\0\0\0\x05\0\0\0" + ring, b"\x01\x03\0\0\0\xff\xff\xff\xff", b"\x01", b"", b"\x01" * 40]
    for wkb in wkbs:
        began = time.monotonic()
        assert isinstance(footprint_map(pa.table({"id": ["a"], "geometry": pa.array([wkb], pa.binary())})), str)
        assert time.monotonic() - began < 2


def test_citations_move_no_cursor(local_refs: Path, tmp_path: Path) -> None:
    """What a set records of its source stood in the terminal as it was."""
    out = forged(
        local_refs, tmp_path / "x.refs", recipe={"source": "https://example.org/\x1b[2J\x1b]0;x\x07\nlicence: free"}
    )
    said = CliRunner().invoke(main, ["cite", str(out)])
    assert said.exit_code == 0
    assert "example.org" in said.output
    assert all(line.isprintable() for line in said.output.split("\n"))
    assert "\nlicence" not in said.output
