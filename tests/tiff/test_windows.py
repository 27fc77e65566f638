"""Known pieces of a file."""

import pytest

from rasteret_refs.tiff.windows import Windows


def test_a_view_is_given_only_where_every_byte_is_known():
    windows = Windows()
    windows.add(10, b"abcdef")
    assert bytes(windows.view(10, 16)) == b"abcdef"
    assert bytes(windows.view(12, 14)) == b"cd"
    assert windows.view(9, 12) is None
    assert windows.view(12, 17) is None


@pytest.mark.parametrize("pieces", [[(0, 4), (4, 9)], [(4, 9), (0, 4)], [(0, 6), (3, 9)], [(2, 4), (6, 9), (0, 7)]])
def test_pieces_that_touch_or_overlap_are_joined(pieces):
    data = bytes(range(9))
    windows = Windows()
    for start, stop in pieces:
        windows.add(start, data[start:stop])
    assert bytes(windows.view(0, 9)) == data


def test_pieces_that_lie_apart_stay_apart():
    windows = Windows()
    windows.add(0, b"ab")
    windows.add(3, b"de")
    assert windows.view(0, 5) is None
    assert bytes(windows.view(3, 5)) == b"de"


def test_buffers_of_any_kind_are_taken_and_empty_ones_change_nothing():
    windows = Windows()
    windows.add(0, bytearray(b"ab"))
    windows.add(2, memoryview(b"xcdx")[1:3])
    windows.add(7, b"")
    assert bytes(windows.view(0, 4)) == b"abcd"
    assert windows.view(7, 8) is None
