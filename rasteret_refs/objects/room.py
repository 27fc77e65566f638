"""Memory that is quick to fill for the first time: in huge pages, where the system has them.

Each small page of fresh memory stops the thread that touches it first, for 1.5 µs: 13 MB of tiles cost 5 ms, in huge
pages 0.6. On a virtual machine whose host must find it as well, a megabyte may take 3 ms.
"""

import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

HUGE_PAGE = 2 * 1024 * 1024
"""Bytes of a huge page on x86-64 and on ARM with pages of 4 KB."""
_SLAB = 4 * HUGE_PAGE
_MOST = _SLAB // 2
"""Bytes: a larger body would leave most of a slab empty."""
_LEAST = 48 * 1024
"""Bytes: headers, of which builds keep parts, are smaller, and would keep their slab."""
_ALIGNED = 64
_SPARE = 4
"""Slabs kept for bodies to come, and made ready for those on their way, at most."""


def huge(nbytes: int) -> npt.NDArray[np.uint8]:
    """Give so many bytes that begin with a huge page: NumPy asks for them from 4 MB on."""
    held = np.empty(max(nbytes + HUGE_PAGE, 2 * HUGE_PAGE), dtype=np.uint8)  # what lies around is never touched
    start = -held.ctypes.data % HUGE_PAGE
    return held[start : start + nbytes]


class Room:
    """Memory for bodies of answers, cut from slabs; a slab is used again when the last body in it is gone.

    For one thread; the last of a slab's bodies may go in any.
    """

    def __init__(self) -> None:
        self._slab = memoryview(b"")
        self._used = 0
        self._spare: list[npt.NDArray[np.uint8]] = []

    def take(self, nbytes: int) -> memoryview:
        """Give writable bytes. Small ones stand alone: they may be kept for long, and would keep their slab."""
        if not self.holds(nbytes):
            return memoryview(bytearray(nbytes)) if nbytes < _LEAST else memoryview(huge(nbytes))
        if self._used + nbytes > len(self._slab):
            self._slab, self._used = self._next_slab(), 0
        taken = self._slab[self._used : self._used + nbytes]
        self._used += -(-nbytes // _ALIGNED) * _ALIGNED
        return taken

    @staticmethod
    def holds(nbytes: int) -> bool:
        """Tell whether a body of so many bytes lies in a slab."""
        return _LEAST <= nbytes <= _MOST

    def preparing(self, nbytes: int) -> Iterator[None]:
        """Touch memory for so many bytes of bodies on their way, a page each time: some take milliseconds."""
        missing = nbytes - (len(self._slab) - self._used) - len(self._spare) * _SLAB
        while missing > 0 and len(self._spare) < _SPARE:
            memory = huge(_SLAB)
            for page in range(0, min(missing, _SLAB), HUGE_PAGE):
                memory[page] = 0
                yield
            self._spare.append(memory)  # not before: what is touched then would be somebody's pixels
            missing -= _SLAB

    def _next_slab(self) -> memoryview:
        """Give a slab that nobody holds a part of."""
        memory = self._spare.pop() if self._spare else huge(_SLAB)
        part = memory[:]  # parts of a memoryview refer to this array, parts of an array would to the memory itself
        weakref.finalize(part, self._keep, memory).atexit = False
        return memoryview(part)

    def _keep(self, memory: npt.NDArray[np.uint8]) -> None:
        if len(self._spare) < _SPARE:
            self._spare.append(memory)
