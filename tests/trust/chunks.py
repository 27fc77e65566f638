"""Every codec chain that we read, with a sound chunk of each, and what may come of any other bytes."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numcodecs
import numpy as np

from rasteret_refs_codecs.fast import Decoder, compile_decoder
from tests.codecs.goldens import GOLDENS

SIDE = 16
COMPRESSORS = ("zlib", "zstd", "lzma", "imagecodecs_lzw", "imagecodecs_packbits")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """One chain."""

    name: str
    encoded: bytes
    codec: Any
    """A codec of ours, alone; None for a standard compressor, whose plain form knows no bound."""
    decoder: Decoder
    """The bounded chain that our reader uses."""


@cache
def chains() -> tuple[Chain, ...]:
    """Each golden of each codec of ours, and the standard compressors with and without a predictor behind them."""
    found = []
    for golden in GOLDENS:
        codec = numcodecs.get_codec(golden.config)
        decoded = np.ascontiguousarray(golden.decoded).reshape(1, -1)
        decoder = compile_decoder([golden.config], None, decoded.dtype, decoded.shape)
        found.append(Chain(name=str(golden), encoded=bytes.fromhex(golden.encoded), codec=codec, decoder=decoder))
    predictor = {"id": "rasteret_refs.horizontal_predictor", "version": 1, "shape": [SIDE, SIDE, 1], "bits": 16}
    for compressor in COMPRESSORS:
        encoded = bytes(numcodecs.get_codec({"id": compressor}).encode(bytes(range(256)) * 2))
        for filters in ([], [predictor]):
            decoder = compile_decoder(filters, {"id": compressor}, "<u2", (SIDE, SIDE))
            found.append(Chain(name=f"{compressor} {len(filters)}", encoded=encoded, codec=None, decoder=decoder))
    return tuple(found)


def decode_both_ways(chain: Chain, data: bytes) -> None:
    """Decode bytes by the codec alone and by the reader's decoder: chunks of the right size, or `ValueError`."""
    if chain.codec is not None:
        try:
            decoded = np.asarray(memoryview(chain.codec.decode(data)))
        except ValueError:
            decoded = None
        if decoded is not None and "fill_order" not in chain.codec.codec_id:
            assert decoded.nbytes == chain.decoder.nbytes, f"{chain.name}: {decoded.nbytes} bytes"
    out = np.zeros(chain.decoder.chunk_shape, chain.decoder.dtype)
    for rows in (None, 1):
        try:
            chain.decoder.decode_into(data, out, rows)
        except ValueError:
            continue
