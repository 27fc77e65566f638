"""Selections of any kind through the reader and through Zarr equal NumPy's own."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_refs.errors import QueryError
from rasteret_refs.objects.client import Objects
from rasteret_refs.read.pipeline import BulkReadPipeline, open_array
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.store import ReferenceStore
from tests.read.stubs import StubRefset

VALUES = np.arange(3 * 17 * 23, dtype="u2").reshape(3, 17, 23)
CHUNKS = (1, 5, 8)


@pytest.fixture(scope="module")
def reader():
    refset = StubRefset(record_size=7)
    refset.add_values("g/image", VALUES, CHUNKS, compressor={"id": "zlib", "level": 1})
    refset.add_values("g/scalar", np.float64(2.5), ())
    return Reader(refset, Objects())


def index(size):
    position = st.integers(-size, size - 1)
    bound = st.none() | st.integers(-size - 2, size + 2)
    stretch = st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3, 9, -1, -4]))
    return position | stretch | st.lists(position, max_size=6).map(lambda v: np.array(v, dtype=np.int64))


def orthogonal(values, key):
    """NumPy's outer indexing, one dimension at a time."""
    for axis in reversed(range(len(key))):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values


@given(st.tuples(*(index(size) for size in VALUES.shape)))
@settings(max_examples=200, deadline=None)
def test_outer_selections_equal_numpys(reader, key):
    np.testing.assert_array_equal(reader.read("g/image", key), orthogonal(VALUES, key), strict=True)


@given(st.integers(0, 12).flatmap(lambda n: st.tuples(
    *(st.lists(st.integers(-s, s - 1), min_size=n, max_size=n) for s in VALUES.shape))))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_points_equal_numpys(reader, key):
    arrays = tuple(np.array(positions, dtype=np.int64) for positions in key)
    (found,) = reader.read_many([Window(array=reader.array("g/image"), key=arrays, points=True)])
    np.testing.assert_array_equal(found, VALUES[arrays], strict=True)


def test_index_arrays_of_points_broadcast(reader):
    key = (np.array([[0], [2]]), np.array([[3, 16, 9]]), np.array([[22, 0, 8]]))
    (found,) = reader.read_many([Window(array=reader.array("g/image"), key=key, points=True)])
    np.testing.assert_array_equal(found, VALUES[key], strict=True)


def test_a_scalar_array_reads(reader):
    assert reader.read("g/scalar") == 2.5


@pytest.mark.parametrize("key", [(3,), (0, -18), (0, 0, [0, 23]), (0, 0, 0, 0)])
def test_positions_outside_raise(reader, key):
    with pytest.raises(QueryError, match="g/image"):
        reader.read("g/image", tuple(np.array(k) if isinstance(k, list) else k for k in key))


def test_a_given_output_is_filled_even_when_it_is_a_view(reader):
    canvas = np.zeros((2, 20, 30), "u2")
    view = canvas[:, 1:18, 2:25]
    reader.read("g/image", (slice(0, 2),), out=view)
    np.testing.assert_array_equal(view, VALUES[:2])
    assert canvas[:, 0].sum() == 0


def test_an_output_of_another_shape_or_dtype_is_refused(reader):
    for out in (np.zeros((1, 1), "u2"), np.zeros(VALUES.shape, "f4")):
        with pytest.raises(QueryError, match="expected an output"):
            reader.read("g/image", out=out)


SELECTIONS = [
    ("basic", np.s_[:, 3:14, 7:21]),
    ("basic", np.s_[1, 16, 22]),
    ("basic", np.s_[..., ::4, -3]),
    ("basic", np.s_[2]),
    ("oindex", ([2, 0], slice(1, 12), [1, 20, 9])),
    ("oindex", (1, [3, 3, 16], slice(None))),
    ("oindex", (np.array([True, False, True]), slice(2, 3), slice(0, 23, 5))),
    ("vindex", ([0, 2, 1], [4, 5, 16], [22, 0, 8])),
    ("blocks", (1, slice(1, 3), 2)),
]


@pytest.mark.parametrize(("kind", "key"), SELECTIONS)
def test_zarr_gives_the_same_with_our_pipeline_and_without(reader, kind, key):
    store = ReferenceStore(reader)
    default = zarr.open_array(store, path="g/image", mode="r", zarr_format=2)
    fast = open_array(store, "g/image")
    assert isinstance(fast.async_array.codec_pipeline, BulkReadPipeline)
    assert not isinstance(default.async_array.codec_pipeline, BulkReadPipeline)
    answers = [(array if kind == "basic" else getattr(array, kind))[key] for array in (default, fast)]
    np.testing.assert_array_equal(*answers, strict=True)
    if kind == "basic":
        np.testing.assert_array_equal(answers[0], VALUES[key])


def test_each_tile_is_decoded_once_for_a_whole_batch(reader, monkeypatch):
    from rasteret_refs.read import tiles

    decoded = []
    original = tiles.decode
    monkeypatch.setattr(tiles, "decode", lambda job, *a, **k: (decoded.append(job.number), original(job, *a, **k)))
    array = reader.array("g/image")
    keys = [np.s_[0, 0:3, 0:3], np.s_[0, 2:5, 2:8], np.s_[0, 4:6, 0:4]]
    found = reader.read_many([Window(array=array, key=key) for key in keys])
    for key, pixels in zip(keys, found, strict=True):
        np.testing.assert_array_equal(pixels, VALUES[key])
    assert sorted(decoded) == [0, 3]


def test_choosing_the_pipeline_globally_leaves_other_stores_to_zarr(reader):
    with zarr.config.set({"codec_pipeline.path": "rasteret_refs.read.pipeline.BulkReadPipeline"}):
        other = zarr.create_array({}, data=VALUES, chunks=CHUNKS)
        ours = zarr.open_array(ReferenceStore(reader), path="g/image", mode="r", zarr_format=2)
    np.testing.assert_array_equal(other[:], VALUES)
    assert isinstance(ours.async_array.codec_pipeline, BulkReadPipeline)
    np.testing.assert_array_equal(ours[:], VALUES)
