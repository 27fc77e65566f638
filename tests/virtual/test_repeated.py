"""Chunks of one value that are too large to be made whole are made of one row, or refused by name."""

import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import rasteret_refs as rr
from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.tiff.values import Planar, SampleFormat
from rasteret_refs.virtual import repeated
from rasteret_refs.virtual.codec_chain import codec_chain, fill_chunk, mask_chain
from rasteret_refs.virtual.values import CodecChain
from tests.oracle.chunks import decode_chunk
from tests.virtual.test_codec_chain import description

FLOAT, SIGNED = SampleFormat.FLOAT, SampleFormat.SIGNED
CHANGES: list[dict[str, Any]] = [
    {},
    {"predictor": 2},
    {"predictor": 2, "byte_order": ">", "samples": 3},
    {"byte_order": ">"},
    {"samples": 4, "planar": Planar.SEPARATE},
    {"bits": 8, "samples": 3},
    {"bits": 12},
    {"bits": 1},
    {"bits": 5, "samples": 3},
    {"bits": 32, "sample_format": FLOAT, "predictor": 3, "byte_order": ">", "samples": 2},
    {"bits": 24, "sample_format": FLOAT},
    {"bits": 32, "sample_format": SampleFormat.COMPLEX_INT},
    {"bits": 64, "sample_format": SIGNED, "compression": 32946},
    {"tiled": False, "chunk_width": 100, "chunk_height": 16, "predictor": 2},
    {"tiled": False, "chunk_width": 100, "chunk_height": 70},
    {"chunk_height": 1},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_repeated_rows_decode_to_their_value(
    changes: dict[str, Any], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated, "_PIECE", piece)
    monkeypatch.setattr(repeated, "LARGEST_WHOLE", 1)
    chain = codec_chain(description(**changes))
    for value in (0, 1):
        decoded = decode_chunk(chain, repeated.repeated_rows(chain, np.dtype(chain.dtype).type(value)))
        assert decoded.shape == chain.chunk_shape
        assert (decoded == value).all()


def test_masks_are_repeated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "LARGEST_WHOLE", 1)
    chain = mask_chain(description(bits=1))
    assert (decode_chunk(chain, repeated.repeated_rows(chain, np.uint8(255))) == 255).all()


def test_a_gigabyte_of_one_value_takes_little_memory() -> None:
    chain = codec_chain(description(width=66_000, height=66_000, tiled=False, chunk_width=66_000, chunk_height=8_192))
    tracemalloc.start()
    encoded = fill_chunk(chain, 42)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 1024 * 1024
    # zlib itself says whether the stream is whole and its checksum right.
    inflate, size = zlib.decompressobj(), 0
    expected = np.full(1 << 20, 42, "<u2").tobytes()
    while not inflate.eof:
        piece = inflate.decompress(encoded, len(expected))
        encoded = inflate.unconsumed_tail
        assert piece == expected[: len(piece)]
        size += len(piece)
    assert size == 66_000 * 8_192 * 2


@pytest.mark.parametrize("changes", [{"compression": 5}, {"compression": 1}, {"fill_order": 2}], ids=str)
def test_other_codecs_of_large_chunks_are_refused_by_name(changes: dict[str, Any]) -> None:
    chain = codec_chain(description(width=66_000, height=66_000, chunk_width=66_000, chunk_height=8_192, **changes))
    with pytest.raises(UnsupportedTiffError, match=r"8192×66000 samples.*at most 67108864 bytes"):
        fill_chunk(chain, 0)


def _chain(compressor: dict[str, Any] | None) -> CodecChain:
    return replace(codec_chain(description()), compressor=compressor)


def test_small_chunks_are_always_made() -> None:
    assert repeated.can_be_made(_chain(None))


def test_a_sparse_file_with_huge_strips_is_refused_by_name_and_others_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated, "LARGEST_WHOLE", 1000)
    good, sparse = tmp_path / "good.tif", tmp_path / "sparse.tif"
    values = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    tifffile.imwrite(good, values, tile=(16, 16), compression="lzw")
    tifffile.imwrite(sparse, values, tile=(32, 32), compression="lzw")
    with tifffile.TiffFile(sparse, mode="r+b") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    with pytest.raises(UnsupportedTiffError, match=r"sparse\.tif.*32×32 samples.*at most 1000 bytes"):
        rr.build([str(sparse)], tmp_path / "one.refs")
    refs = rr.build([str(good), str(sparse)], tmp_path / "two.refs", on_error="skip")
    assert len(refs.scenes) == 1
    assert refs.report is not None
    assert [failure.error.__class__ for failure in refs.report.failures] == [UnsupportedTiffError]
