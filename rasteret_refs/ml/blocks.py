"""In which order an iterable dataset gives chips: tile by tile within blocks, blocks shuffled, each chip once.

Everything follows from the seed, the epoch and the chips. How many workers or ranks take part decides only who gives
which chips.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from rasteret_refs.ml.images import Integers

MIXED = 4
"""Blocks from different places that are read together and shuffled into one another."""


def blocks(order: Integers, tiles: Integers, most: int) -> list[Integers]:
    """Cut chips, ordered by tile, into blocks that tiles do not straddle where that is possible.

    Parameters
    ----------
    order
        Chips in the order of their tiles.
    tiles
        For each of `order` a number that changes from tile to tile.
    most
        Chips a block.

    Returns
    -------
    list of numpy.ndarray
        Parts of `order`, one after the other.
    """
    changes = [*np.flatnonzero(np.diff(tiles)) + 1, len(order)]
    cuts, begin = [0], 0
    last = 0
    for change in changes:
        while change - begin > most:
            begin = last if last > begin else begin + most
            cuts.append(begin)
        last = change
    return [part for part in np.split(order, cuts[1:]) if len(part)]


def shuffled(parts: Sequence[Integers], generator: np.random.Generator) -> list[Integers]:
    """Put blocks in a random order."""
    return [parts[number] for number in generator.permutation(len(parts))]


def share(parts: Sequence[Integers], part: int, of: int) -> list[Integers]:
    """Take one of several equal shares (equal to within one chip), cutting blocks where shares meet.

    Parameters
    ----------
    parts
        Blocks, in the order that everybody agrees on.
    part, of
        Which share, of how many.
    """
    count = sum(map(len, parts))
    low, high = count * part // of, count * (part + 1) // of
    taken, before = [], 0
    for block in parts:
        chosen = block[max(low - before, 0) : max(high - before, 0)]
        if len(chosen):
            taken.append(chosen)
        before += len(block)
    return taken


def batches(parts: Sequence[Integers], most: int, generator: np.random.Generator | None) -> Iterator[Integers]:
    """Join blocks into reads of at most `most` chips, and shuffle the chips of each.

    Parameters
    ----------
    parts
        Blocks.
    most
        Chips a read.
    generator
        None: no shuffling.
    """
    held: list[Integers] = []
    for block in parts:
        if held and sum(map(len, held)) + len(block) > most:
            yield _mixed(held, generator)
            held = []
        held.append(block)
    if held:
        yield _mixed(held, generator)


def _mixed(held: list[Integers], generator: np.random.Generator | None) -> Integers:
    joined = np.concatenate(held)
    return joined if generator is None else generator.permutation(joined)
