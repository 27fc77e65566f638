"""How many requests reads take, and what damage does."""

import numpy as np
import pytest

from rasteret_refs.errors import DamagedError, DecodeError, NotFoundError, ResponseError
from rasteret_refs.objects.client import Objects
from rasteret_refs.read.cache import DiskCache
from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.store import ReferenceStore
from tests.read.stubs import StubRefset, encoded_chunks

PATH = "factor_1/image"


def test_a_chip_over_two_by_two_tiles_takes_two_requests_at_most(remote_refs, server, pixels):
    reader = open_reader(remote_refs)
    reader.read(PATH, (0, 0, 0))
    server.reset()
    np.testing.assert_array_equal(reader.read(PATH, (1, slice(100, 160), slice(100, 160))), pixels[1, 100:160, 100:160])
    assert server.stats().requests <= 2


def test_a_whole_scene_is_one_request_while_it_is_small(remote_refs, server, pixels):
    reader = open_reader(remote_refs)
    server.reset()
    np.testing.assert_array_equal(reader.read(PATH, (2,)), pixels[2])
    assert server.stats().requests == 1


def test_the_tile_cache_spares_the_second_chip_of_a_tile_its_request(remote_refs, server, pixels):
    reader = open_reader(remote_refs, tile_cache=1 << 20)
    reader.read(PATH, (0, slice(0, 10), slice(0, 10)))
    server.reset()
    np.testing.assert_array_equal(reader.read(PATH, (0, slice(60, 128), slice(9, 70))), pixels[0, 60:128, 9:70])
    assert server.stats().requests == 0


def test_the_tile_cache_forgets_what_was_used_longest_ago(remote_refs, server):
    reader = open_reader(remote_refs, tile_cache=2 * 128 * 128 * 2)
    for column in (0, 128, 256):
        reader.read(PATH, (0, 0, column))
    server.reset()
    reader.read(PATH, (0, 0, 256))
    assert server.stats().requests == 0
    reader.read(PATH, (0, 0, 0))
    assert server.stats().requests == 1


def test_the_disk_cache_serves_another_reader(remote_refs, server, pixels, tmp_path):
    window = (3, slice(0, 200), slice(300, 500))
    open_reader(remote_refs, disk_cache=DiskCache(tmp_path, 1 << 24)).read(PATH, window)
    server.reset()
    again = open_reader(remote_refs, disk_cache=DiskCache(tmp_path, 1 << 24))
    np.testing.assert_array_equal(again.read(PATH, window), pixels[3, :200, 300:500])
    assert server.stats().requests == 0


def test_the_disk_cache_keeps_to_its_budget(remote_refs, tmp_path):
    reader = open_reader(remote_refs, disk_cache=DiskCache(tmp_path, 100_000))
    reader.read(PATH)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000


def test_a_lost_manifest_file_raises_and_never_fills(refs, tmp_path):
    import shutil

    copy = tmp_path / "copy.refs"
    shutil.copytree(refs, copy)
    (copy / "zarr.parq" / PATH / "refs.0.parq").unlink()
    reader = open_reader(copy)
    with pytest.raises(DamagedError, match=r"refs\.0\.parq"):
        reader.read(PATH, (0, 0, 0))
    with pytest.raises(DamagedError, match=r"refs\.0\.parq"):
        ReferenceStore(reader).get_sync(f"{PATH}/0.0.0")


def stub(tmp_path, data, offset, size):
    refset = StubRefset()
    refset.add("g/a", (1, 16, 16), (1, 16, 16), "u2", compressor={"id": "zlib", "level": 1})
    (tmp_path / "object").write_bytes(data)
    refset.refer("g/a", 0, tmp_path / "object", offset, size)
    return Reader(refset, Objects())


def test_a_damaged_tile_raises_with_its_place(tmp_path):
    (tile,) = encoded_chunks(np.ones((1, 16, 16), "u2"), (1, 16, 16), {"id": "zlib", "level": 1})
    reader = stub(tmp_path, b"xx" + tile[:-9], 2, len(tile) - 9)
    with pytest.raises(DecodeError, match=r"chunk 0\.0\.0 of g/a, .*object from byte 2"):
        reader.read("g/a")


def test_a_reference_past_the_end_raises(tmp_path):
    with pytest.raises(ResponseError, match=r"expected bytes \[90, 190\)"):
        stub(tmp_path, bytes(100), 90, 100).read("g/a")


def test_a_vanished_object_raises(tmp_path):
    reader = stub(tmp_path, bytes(100), 0, 100)
    (tmp_path / "object").unlink()
    with pytest.raises(NotFoundError, match="object"):
        reader.read("g/a")


def test_a_manifest_without_a_row_for_a_chunk_raises():
    refset = StubRefset()
    refset.add("g/a", (2, 4, 4), (1, 4, 4), "u1")
    refset.rows["g/a"].pop()
    with pytest.raises(DamagedError, match=r"expected a row for each chunk.*g/a/refs\.0\.parq"):
        Reader(refset, Objects()).read("g/a", (1,))


def test_a_row_without_path_and_bytes_raises():
    refset = StubRefset()
    refset.add("g/a", (1, 4, 4), (1, 4, 4), "u1")
    refset.rows["g/a"][0] = ("", 0, 0, None)
    with pytest.raises(DamagedError, match="row 0 has neither"):
        Reader(refset, Objects()).read("g/a")


def test_an_unknown_codec_raises_by_name():
    refset = StubRefset()
    refset.add("g/a", (1, 4, 4), (1, 4, 4), "u1", compressor={"id": "no-such-codec"})
    with pytest.raises(DamagedError, match="no-such-codec"):
        Reader(refset, Objects()).read("g/a")
