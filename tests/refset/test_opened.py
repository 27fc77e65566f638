"""Opening, verifying and reading a set: nothing altered ever gets through."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rasteret_refs.errors import DamagedError, FormatVersionError, NotFoundError
from rasteret_refs.refset.files import LocalFiles
from rasteret_refs.refset.opened import OpenedRefset
from tests.refset.plans import GROUP, Planned, plan_of, write_tiffs
from tests.servers.range_server import Server

ARRAY = f"{GROUP}/image"


def every_file(refs: Path) -> list[str]:
    return sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())


def use(refs: Path) -> None:
    """Open a set, verify it, and read all that a reader would."""
    opened = OpenedRefset(refs)
    opened.verify()


def damaged(data: bytes, how: str) -> bytes:
    if how == "truncated":
        return data[: len(data) * 2 // 3]
    if how == "zeroed":
        return bytes(len(data))
    if how == "emptied":
        return b""
    if how == "lengthened":
        return data + b"\0"
    position = len(data) * int(how.removeprefix("flipped at ")) // 100
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


def test_records_are_what_was_planned(refs: Path, planned: Planned) -> None:
    opened = OpenedRefset(refs)
    manifest = planned.plan.groups[2].arrays[0].manifest
    rows = [row for k in range(5) for row in opened.records(ARRAY, k).to_pylist()]
    assert opened.record_size == 8
    assert len(rows) == len(manifest)
    for chunk, row in enumerate(rows):
        if manifest.url_index[chunk] < 0:
            assert row == {"path": "", "offset": 0, "size": 0, "raw": manifest.inlined[0]}
        else:
            url = manifest.urls[manifest.url_index[chunk]]
            offset, size = manifest.offsets[chunk], manifest.sizes[chunk]
            assert row == {"path": url, "offset": offset, "size": size, "raw": None}


def test_metadata_and_scenes_are_at_hand(refs: Path, planned: Planned) -> None:
    opened = OpenedRefset(refs)
    assert opened.metadata[f"{ARRAY}/.zarray"]["shape"] == [7, 40, 30]
    assert opened.scenes["id"].to_pylist() == list(planned.ids)
    assert opened.seal.layout == "grids"
    assert opened.seal.sources == (str(Path(planned.urls[0]).parent) + "/",)
    assert len(opened.failures()) == 0
    assert opened.tiles() is None


def test_a_sound_set_verifies(refs: Path) -> None:
    report = OpenedRefset(refs).verify()
    assert report.files == len(every_file(refs))
    assert report.listed


@pytest.mark.parametrize(
    "how", ["truncated", "zeroed", "emptied", "lengthened", "flipped at 3", "flipped at 50", "flipped at 97"]
)
def test_any_file_altered_is_found(refs: Path, how: str) -> None:
    for name in every_file(refs):
        path = refs / name
        data = path.read_bytes()
        path.write_bytes(damaged(data, how))
        with pytest.raises(DamagedError, match=path.name.replace(".", r"\.")):
            use(refs)
        path.write_bytes(data)
    use(refs)


def test_every_byte_of_the_seal_counts(refs: Path) -> None:
    path = refs / "refs.json"
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(DamagedError, match=r"refs\.json"):
            OpenedRefset(refs)


def test_any_file_missing_is_found(refs: Path) -> None:
    for name in every_file(refs):
        path = refs / name
        data = path.read_bytes()
        path.unlink()
        with pytest.raises((DamagedError, NotFoundError), match=path.name.replace(".", r"\.")):
            use(refs)
        path.write_bytes(data)


def test_any_file_of_another_set_is_found(refs: Path, tmp_path: Path, write: Callable[..., Path]) -> None:
    directory = tmp_path / "other"
    directory.mkdir()
    other = write(plan_of(write_tiffs(directory, 7, seed=1)), "another")
    for name in every_file(refs):
        if not (other / name).exists() or (other / name).read_bytes() == (refs / name).read_bytes():
            continue
        data = (refs / name).read_bytes()
        shutil.copy(other / name, refs / name)
        with pytest.raises(DamagedError):
            use(refs)
        (refs / name).write_bytes(data)


def test_two_record_files_exchanged_are_found(refs: Path) -> None:
    first, second = (refs / f"zarr.parq/{ARRAY}/refs.{k}.parq" for k in (0, 1))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(DamagedError, match=r"refs\.0\.parq"):
        OpenedRefset(refs).records(ARRAY, 0)


def test_a_file_too_many_is_found(refs: Path) -> None:
    (refs / "zarr.parq" / "more.parq").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"more\.parq: expected only sealed files"):
        use(refs)


def test_a_damaged_manifest_raises_at_its_first_load_only(refs: Path) -> None:
    path = refs / f"zarr.parq/{ARRAY}/refs.1.parq"
    path.write_bytes(damaged(path.read_bytes(), "flipped at 50"))
    opened = OpenedRefset(refs)
    opened.records(ARRAY, 0)
    with pytest.raises(DamagedError, match=r"refs\.1\.parq"):
        opened.records(ARRAY, 1)


def test_the_scene_table_carries_page_checksums_that_are_verified(refs: Path) -> None:
    from rasteret_refs.refset.geoparquet import read_table

    path = refs / "scenes.parquet"
    metadata = pq.read_metadata(path)
    column = next(
        metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
        if metadata.row_group(0).column(i).path_in_schema == "id"
    )
    data = bytearray(path.read_bytes())
    last = (
        column.data_page_offset
        + column.total_compressed_size
        - (column.data_page_offset - (column.dictionary_page_offset or column.data_page_offset))
    )
    data[last - 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=r"scenes\.parquet"):
        read_table(path, str(path))


def test_a_pinned_set_opens_and_any_other_does_not(refs: Path) -> None:
    pin = hashlib.sha256((refs / "refs.json").read_bytes()).hexdigest()
    assert OpenedRefset(refs, sha256=pin).sha256 == pin
    with pytest.raises(DamagedError, match="pinned"):
        OpenedRefset(refs, sha256="0" * 64)


def test_a_newer_format_is_refused_by_its_version(refs: Path) -> None:
    path = refs / "refs.json"
    body, _, _ = path.read_bytes().rpartition(b',\n "sha256"')
    body = body.replace(b'"format_version": 1', b'"format_version": 9') + b"\n}\n"
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(body.removesuffix(b"\n}\n") + b',\n "sha256": "' + digest + b'"\n}\n')
    with pytest.raises(FormatVersionError, match="got 9"):
        OpenedRefset(refs)


def test_the_seal_is_json_with_the_hash_of_every_file(refs: Path) -> None:
    seal = json.loads((refs / "refs.json").read_text())
    path = refs / f"zarr.parq/{ARRAY}/refs.3.parq"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert seal["manifests"][ARRAY][3] == f"{path.stat().st_size}:{digest}"
    digest = hashlib.sha256((refs / "scenes.parquet").read_bytes()).hexdigest()
    assert seal["files"]["scenes.parquet"].endswith(digest)


def test_a_seal_that_leads_out_of_the_set_is_refused(refs: Path) -> None:
    path = refs / "refs.json"
    body, _, _ = path.read_bytes().rpartition(b',\n "sha256"')
    body = body.replace(b'"scenes.parquet"', b'"../scenes.parquet"') + b"\n}\n"
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(body.removesuffix(b"\n}\n") + b',\n "sha256": "' + digest + b'"\n}\n')
    with pytest.raises(DamagedError, match="leaves the reference set"):
        OpenedRefset(refs)


def test_an_opened_set_travels_by_pickle(refs: Path) -> None:
    opened = OpenedRefset(refs)
    opened.records(ARRAY, 0)
    other = pickle.loads(pickle.dumps(opened))  # noqa: S301 - our own bytes
    assert other == opened
    assert hash(other) == hash(opened)
    assert other.records(ARRAY, 0).equals(opened.records(ARRAY, 0))


def test_a_set_behind_http_opens_with_two_requests(refs: Path, server_process: Server) -> None:
    opened = OpenedRefset(f"{server_process.url}{refs.name}")
    assert server_process.stats().requests == 2
    assert len(opened.records(ARRAY, 0)) == 8
    assert opened.scenes.num_rows == 7
    report = opened.verify()
    assert not report.listed
    assert server_process.stats().refused == 0


def test_record_files_in_memory_stay_within_their_bound(refs: Path) -> None:
    opened = OpenedRefset(refs, table_bytes=2000)
    for k in range(5):
        opened.records(ARRAY, k)
    assert 0 < opened._tables.bytes_held <= 2000


def test_a_place_without_a_set_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"refs\.json"):
        OpenedRefset(tmp_path)


def test_a_stack_of_ten_thousand_scenes_opens_fast(tmp_path: Path) -> None:
    import time

    from rasteret_refs.refset.geoparquet import scene_table
    from rasteret_refs.refset.write import write_reference_set
    from rasteret_refs.virtual.values import ChunkManifest
    from tests.refset.plans import plan_around

    count = 10_000
    ids = [f"scene_{number:05}" for number in range(count)]
    manifest = ChunkManifest(
        urls=[f"https://example.com/{scene}.tif" for scene in ids],
        url_index=np.repeat(np.arange(count, dtype=np.int32), 5),
        offsets=np.tile(np.arange(5, dtype=np.int64) * 480 + 16, count),
        sizes=np.full(5 * count, 480, np.int64),
    )
    refs = tmp_path / "large.refs"
    refs.mkdir()
    write_reference_set(plan_around(manifest, ids), refs, scenes=scene_table([{"id": scene} for scene in ids]))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        OpenedRefset(refs)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


def test_a_set_that_grows_while_it_is_opened_is_read_as_it_then_is(tmp_path, monkeypatch):
    """Between a look at a file and its opening a larger one may take its place, as the seal's does in an append."""
    (tmp_path / "refs.json").write_bytes(b"old")
    (tmp_path / "newer").write_bytes(b"newer and longer")
    original = Path.open

    def replaced(path, *args, **kwargs):
        (tmp_path / "newer").replace(tmp_path / "refs.json")
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", replaced)
    assert LocalFiles(str(tmp_path)).read("refs.json", 1_000) == b"newer and longer"
