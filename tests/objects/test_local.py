"""Ranges of local files: exact bytes, memory that each thread holds for itself, and what is refused."""

import threading
from pathlib import Path

import numpy as np
import pytest

from rasteret_refs.errors import NotFoundError, ResponseError
from rasteret_refs.objects import local


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "object.bin"
    path.write_bytes(np.random.default_rng(7).bytes(3 * 1024 * 1024))
    return path


def test_ranges_of_any_length_come_back_as_they_are_in_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LARGEST_HELD", 1024 * 1024)  # what is longer takes the other way
    data = file.read_bytes()
    for start, stop in ((0, 1), (17, 4096), (5, 5), (1, 2_000_000), (3, 900_000), (len(data) - 1, len(data))):
        assert local.read_range(str(file), start, stop) == data[start:stop]


def test_threads_do_not_overwrite_each_other_s_bytes(file: Path) -> None:
    data = file.read_bytes()
    mine = local.read_range(str(file), 0, 1000)
    other = threading.Thread(target=local.read_range, args=(str(file), 5000, 9000))
    other.start()
    other.join()
    assert mine == data[:1000]
    with pytest.raises(TypeError, match="read-only"):
        mine[0] = 0


def test_a_range_beyond_the_end_and_a_missing_file_are_named(file: Path) -> None:
    with pytest.raises(ResponseError, match=r"object\.bin: expected bytes \[0, 3145729\).* only 3145728"):
        local.read_range(str(file), 0, 3 * 1024 * 1024 + 1)
    with pytest.raises(NotFoundError, match=r"none\.bin"):
        local.read_range(str(file.with_name("none.bin")), 0, 1)
