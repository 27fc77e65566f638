"""The cache that nobody asked for: tiles of local files that are read in part, again and again."""

import numpy as np
import pytest

from rasteret_refs.read.cache import Habit
from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.reader import Window


@pytest.fixture
def counted(refs, monkeypatch):
    """A reader of local files, and the ranges that it reads."""
    reader, asked = open_reader(refs), []
    inner = reader.objects.read_now

    def read_now(url, start, stop, **version):
        asked.append((url, start))
        return inner(url, start, stop, **version)

    monkeypatch.setattr(reader.objects, "read_now", read_now)
    return reader, asked


def chip(reader, row, column, size=20, scene=0):
    window = Window(
        array=reader.array("factor_1/image"), key=(scene, slice(row, row + size), slice(column, column + size))
    )
    return reader.read_many([window])[0]


def test_a_tile_read_in_part_by_a_second_batch_is_read_no_third_time(counted, pixels):
    reader, asked = counted
    for row in (0, 10, 20, 40):
        np.testing.assert_array_equal(chip(reader, row, 5), pixels[0, row : row + 20, 5:25])
    assert len(asked) == 2


def test_a_first_batch_keeps_what_it_decodes_nearly_whole(counted, pixels):
    reader, asked = counted
    for row in (100, 0):
        np.testing.assert_array_equal(chip(reader, row, 5), pixels[0, row : row + 20, 5:25])
    assert len(asked) == 1


def test_whole_tiles_are_decoded_in_place_and_not_kept(counted, pixels):
    reader, asked = counted
    for _ in range(3):
        np.testing.assert_array_equal(chip(reader, 128, 128, size=128), pixels[0, 128:256, 128:256])
    assert len(asked) == 3


def test_edge_tiles_are_whole_when_all_of_the_image_in_them_is_read(counted, pixels):
    reader, asked = counted
    height, width = pixels.shape[1:]
    assert height % 128
    assert width % 128
    for _ in range(3):
        np.testing.assert_array_equal(chip(reader, 0, 0, size=max(height, width)), pixels[0])
    assert len(asked) == 3 * (height // 128 + 1) * (width // 128 + 1)


def test_no_cache_is_kept_where_none_is_wanted(refs):
    assert open_reader(refs, tile_cache=0).cache is None


def test_tiles_that_do_not_come_back_are_not_kept():
    habit = Habit()
    assert habit.begin([("a", n) for n in range(10)]) == Habit.NEARLY_WHOLE
    assert habit.begin([("a", n) for n in range(10, 20)]) == Habit.ALL
    assert habit.begin([("a", n) for n in range(20, 100)]) == Habit.NONE
    assert habit.begin([("a", n) for n in range(60, 100)]) == Habit.ALL
    for start in range(100, 30_000, 1000):
        last = habit.begin([("a", n) for n in range(start, start + 1000)])
    assert last == Habit.NONE
