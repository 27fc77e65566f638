"""Codecs against the libraries that do the same, in one run: `python -m tests.benchmarks.bench_codecs`.

Each line alternates the two sides and takes medians of the thread's CPU time, which other processes do not disturb.
"""

import statistics
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np

from rasteret_refs_codecs.band_first import BandFirst
from rasteret_refs_codecs.byte_order import ByteOrder
from rasteret_refs_codecs.fast import compile_decoder
from rasteret_refs_codecs.floating_point_predictor import FloatingPointPredictor
from rasteret_refs_codecs.horizontal_predictor import HorizontalPredictor
from rasteret_refs_codecs.pad import Pad

ROUNDS = 61
SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Ours against theirs, and how much faster ours has to be (0: shown only)."""

    name: str
    ours: Callable[[], Any]
    against: str
    theirs: Callable[[], Any]
    target: float = 0.0


def medians(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of each, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for kept, run in zip(times, (first, second), strict=True):
            start = time.thread_time()
            run()
            kept.append(time.thread_time() - start)
    return statistics.median(times[0]) * 1e3, statistics.median(times[1]) * 1e3


def predictor_2(random: np.random.Generator) -> list[Race]:
    """Horizontal differencing of single-band and chunky tiles."""
    races = []
    for bits in (8, 16, 32, 64):
        values = random.integers(0, 100, (SIDE, SIDE)).astype(f"u{bits // 8}")
        codec = HorizontalPredictor(shape=(SIDE, SIDE, 1), bits=bits)
        encoded, out = codec.encode(values), np.empty_like(values)
        differences = encoded.view(values.dtype).reshape(SIDE, SIDE)
        ours = _into(codec, encoded, out)
        races += [
            Race(
                name=f"predictor 2, {bits} bits",
                ours=ours,
                against="imagecodecs.delta_decode",
                theirs=lambda differences=differences: imagecodecs.delta_decode(differences, axis=-1),
                target=0.9,
            ),
            Race(
                name=f"predictor 2, {bits} bits",
                ours=ours,
                against="numpy.cumsum, same dtype",
                theirs=lambda differences=differences: np.cumsum(differences, axis=1, dtype=differences.dtype),
            ),
        ]
    values = random.integers(0, 100, (512, 512, 3)).astype("u2")
    codec = HorizontalPredictor(shape=(512, 512, 3), bits=16)
    encoded, out = codec.encode(values), np.empty_like(values)
    differences = encoded.view("u2").reshape(values.shape)
    return [
        *races,
        Race(
            name="predictor 2, 16 bits, 3 samples",
            ours=_into(codec, encoded, out),
            against="imagecodecs.delta_decode",
            theirs=lambda: imagecodecs.delta_decode(differences, axis=1),
            target=0.9,
        ),
    ]


def predictor_3(random: np.random.Generator) -> list[Race]:
    """Floating point predictor."""
    races = []
    for bits, target in ((16, 0.0), (32, 2.5), (64, 0.0)):
        values = random.normal(size=(512, 512)).astype(f"f{bits // 8}")
        codec = FloatingPointPredictor(shape=(512, 512, 1), bits=bits)
        encoded, out = codec.encode(values), np.empty_like(values)
        differences = encoded.view(values.dtype).reshape(512, 512)
        races.append(
            Race(
                name=f"predictor 3, {bits} bits",
                ours=_into(codec, encoded, out),
                against="imagecodecs.floatpred_decode",
                theirs=lambda differences=differences: imagecodecs.floatpred_decode(differences, axis=-1),
                target=target,
            )
        )
    return races


def movers(random: np.random.Generator) -> list[Race]:
    """Byte order, padding and deinterleaving against plain copies of as many bytes."""
    races = []
    for bits in (16, 32, 64):
        data = random.integers(0, 255, SIDE * SIDE * bits // 8, dtype=np.uint8)
        out = np.empty_like(data)
        codec = ByteOrder(shape=(SIDE, SIDE, 1), bits=bits)
        copy = _copy(data, out)
        races.append(
            Race(name=f"byte order, {bits} bits", ours=_into(codec, data, out), against="copy", theirs=copy, target=0.7)
        )
    data = random.integers(0, 255, 2 * SIDE * SIDE, dtype=np.uint8)
    out = np.empty_like(data)
    pad = Pad(shape=(SIDE, SIDE, 1), short_rows=SIDE - 1, sample_bytes=2)
    short = data[: -2 * SIDE]
    races.append(
        Race(
            name="padding a short strip",
            ours=_into(pad, short, out),
            against="copy",
            theirs=_copy(data, out),
            target=0.7,
        )
    )
    for sample_bytes, samples in ((1, 3), (2, 4), (4, 3)):
        data = random.integers(0, 255, 512 * 512 * samples * sample_bytes, dtype=np.uint8)
        out = np.empty_like(data)
        codec = BandFirst(shape=(512, 512, samples), sample_bytes=sample_bytes)
        pixels = data.view(f"u{sample_bytes}").reshape(512, 512, samples)
        bands = out.view(f"u{sample_bytes}").reshape(samples, 512, 512)
        races.append(
            Race(
                name=f"band first, {samples} × {8 * sample_bytes} bits",
                ours=_into(codec, data, out),
                against="numpy's strided copy",
                theirs=lambda pixels=pixels, bands=bands: np.copyto(bands, pixels.transpose(2, 0, 1)),
                target=0.9,
            )
        )
    return races


def chains(random: np.random.Generator) -> list[Race]:
    """The compiled decoder against the plain chain."""
    values = random.normal(1000, 30, (SIDE, SIDE)).astype("u2")
    predictor = HorizontalPredictor(shape=(SIDE, SIDE, 1), bits=16)
    encoded = zlib.compress(predictor.encode(values).tobytes(), 6)
    decoder = compile_decoder([predictor.get_config()], {"id": "zlib"}, "<u2", values.shape)
    out = np.empty_like(values)

    def plain() -> None:
        predictor.decode(zlib.decompress(encoded))

    return [
        Race(
            name="deflate + predictor 2, whole tile",
            ours=lambda: decoder.decode_into(encoded, out),
            against="the plain chain",
            theirs=plain,
        ),
        Race(
            name="deflate + predictor 2, a quarter of the rows",
            ours=lambda: decoder.decode_into(encoded, out, SIDE // 4),
            against="the compiled decoder, whole tile",
            theirs=lambda: decoder.decode_into(encoded, out),
        ),
    ]


def _into(codec: Any, data: Any, out: Any) -> Callable[[], Any]:
    return lambda: codec.decode(data, out)


def _copy(data: Any, out: Any) -> Callable[[], Any]:
    return lambda: np.copyto(out, data)


def main() -> int:
    """Print a table; the exit code is 1 where a target is missed."""
    random = np.random.default_rng(0)
    missed = 0
    print(f"{'what':46} {'ours, ms':>9} {'theirs, ms':>11} {'times as fast':>14}  against")
    for race in [*predictor_2(random), *predictor_3(random), *movers(random), *chains(random)]:
        ours, theirs = medians(race.ours, race.theirs)
        ratio = theirs / ours
        failed = ratio < race.target
        missed += failed
        wanted = f" (target {race.target}{', missed' if failed else ''})" if race.target else ""
        print(f"{race.name:46} {ours:9.3f} {theirs:11.3f} {ratio:14.2f}  {race.against}{wanted}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
