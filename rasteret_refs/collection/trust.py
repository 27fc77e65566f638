"""What a collection tells of its own soundness: verification of the set, its sources and pixels, and the audit."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_refs.errors import ChangedError, DecodeError

if TYPE_CHECKING:
    from rasteret_refs.read.reader import Reader
    from rasteret_refs.read.spot_check import PixelReport
    from rasteret_refs.refset.audit import Audit
    from rasteret_refs.refset.opened import OpenedRefset
    from rasteret_refs.refset.verify_sources import SourceReport

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was checked, and found sound."""

    files: int
    """Files of the set, the seal included."""
    bytes: int
    """Bytes of all files but the seal."""
    listed: bool
    """Whether storage could be asked for files too many; plain HTTP has no listings."""
    objects: int | None = None
    """Objects that were asked; None: not asked for."""
    tiles: int | None = None
    """Tiles that were read and decoded; None: not asked for."""


class Trusting:
    """The part of `Collection` that this module gives."""

    refset: "OpenedRefset"
    storage: dict[str, Any]

    @property
    @abstractmethod
    def reader(self) -> "Reader":
        """What reads the pixels."""

    def verify(self, *, sources: bool = False, pixels: int = 0, seed: int | None = None) -> Verified:
        """Check every file of the set against its seal; on request, what it refers to as well.

        Parameters
        ----------
        sources
            Ask every object for its ETag, size and time, and compare them with those that were indexed: one request
            of one byte an object, many in flight.
        pixels
            Read and decode so many random tiles.
        seed
            Chooses the same tiles again.

        Returns
        -------
        Verified
            What was checked.

        Raises
        ------
        DamagedError
            Files are missing, altered or too many; the message names them.
        ChangedError
            Objects are no longer what was indexed, or gone; `problems` of the error names all of them.
        DecodeError
            Tiles that cannot be read; `problems` of the error names all of them.
        UnauthorisedSourceError
            `pixels` of a set that leads where it may not.
        """
        report = self.refset.verify()
        asked = self._ask_sources() if sources else None
        if asked is not None and asked.problems:
            raise _with_problems(ChangedError, f"{len(asked.problems)} of {asked.objects} objects", asked.problems)
        read = self._check_pixels(pixels, seed) if pixels else None
        if read is not None and read.problems:
            raise _with_problems(DecodeError, f"{len(read.problems)} of {read.tiles} tiles", read.problems)
        return Verified(
            files=report.files,
            bytes=report.bytes,
            listed=report.listed,
            objects=None if asked is None else asked.objects,
            tiles=None if read is None else read.tiles,
        )

    def _ask_sources(self) -> "SourceReport":
        """Ask every object whether it is still what was indexed; problems are returned, not raised."""
        from rasteret_refs.refset.verify_sources import check_sources
        from rasteret_refs.refset.versions import versions_of

        return check_sources(versions_of(self.refset.scenes), self.reader.objects)  # type: ignore[arg-type] # Objects

    def _check_pixels(self, count: int, seed: int | None) -> "PixelReport":
        from rasteret_refs.read.spot_check import check_pixels

        return check_pixels(self.reader, count, seed=seed)

    def audit(self) -> "Audit":
        """Tell everything that the set could make a reader touch, from its own files alone.

        Returns
        -------
        Audit
            Hosts, schemes, prefixes, codecs, sizes, and findings: what our reader would refuse, and what whoever opens
            the set with plain Zarr should know.
        """
        from rasteret_refs.refset.audit import audit

        return audit(self.refset)


def _with_problems(kind: type[ChangedError | DecodeError], what: str, problems: Any) -> Exception:
    shown = "; ".join(problem.message for problem in problems[:_NAMED])
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    error = kind(f"expected all to be as they were indexed, {what} are not: {shown}{more}")
    error.problems = problems  # type: ignore[union-attr]
    return error
