"""The bytes of a file that are known so far: all that parsing may look at."""

from collections.abc import Buffer


class Windows:
    """Known pieces of a file, as they came from one or more ranged reads.

    Pieces may come in any order, overlap or touch; touching ones are joined, so that a value that straddles two
    responses is still one contiguous view.

    Parameters
    ----------
    size : int, optional
        Bytes of the whole file. Set it (attribute `size`) as soon as a response tells: with it, pointers past the end
        are told from bytes that merely have not been fetched yet.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self._pieces: list[tuple[int, int, memoryview]] = []

    def add(self, offset: int, data: Buffer) -> None:
        """Add the bytes of the file that begin at `offset`. They are not copied unless they touch another piece."""
        view = memoryview(data).cast("B")
        start, stop = offset, offset + len(view)
        if start == stop:
            return
        touching = [piece for piece in self._pieces if piece[0] <= stop and start <= piece[1]]
        if touching:
            touching.append((start, stop, view))
            start = min(piece[0] for piece in touching)
            stop = max(piece[1] for piece in touching)
            joined = bytearray(stop - start)
            for piece_start, piece_stop, piece in touching:
                joined[piece_start - start : piece_stop - start] = piece
            view = memoryview(joined)
        kept = [piece for piece in self._pieces if piece[0] > stop or start > piece[1]]
        self._pieces = sorted([*kept, (start, stop, view)], key=lambda piece: piece[0])

    def view(self, start: int, stop: int) -> memoryview | None:
        """Bytes `[start, stop)` as a view, or None unless all of them are known."""
        for piece_start, piece_stop, piece in self._pieces:
            if piece_start <= start and stop <= piece_stop:
                return piece[start - piece_start : stop - piece_start]
        return None
