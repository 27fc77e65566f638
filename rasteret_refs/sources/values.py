"""What `resolve` hands to a build: a stream of scenes, and what must be remembered of where they came from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.sources.storage import merged

type Axis = Literal["time", "scene"]
type Progress = Callable[[int, int | None], None]
"""Called with the scenes resolved so far and their total, or None where the source does not tell."""
type OnError = Literal["raise", "skip"]


class Refusals:
    """Collects scenes that a source refuses, or raises the first one.

    Parameters
    ----------
    on_error
        ``"raise"``: the first refusal is raised; ``"skip"``: it is recorded and the stream goes on.
    """

    def __init__(self, on_error: OnError = "raise") -> None:
        self.on_error = on_error
        self.failures: list[SceneFailure] = []

    def refuse(
        self, error: RasteretRefsError, *, scene: str | None = None, asset: str | None = None, url: str | None = None
    ) -> None:
        """Raise `error`, or record it as a failure of the phase ``resolve``."""
        if self.on_error == "raise":
            raise error
        self.failures.append(SceneFailure(scene=scene, asset=asset, url=url, phase="resolve", error=error))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source that is understood, but not asked yet."""

    produce: Callable[[Refusals], Iterable[Scene]]
    """Makes the scenes; refusals go to the collector that it is given."""
    kind: str
    """`files`, `stac`, `stac-api`, `table`, `rasteret`, `scenes` or `several`."""
    axis: Axis
    """`time` for scenes that come with datetimes, `scene` for plain files."""
    total: int | None = None
    """Scenes expected, where that is known beforehand."""
    dataset: Any = None
    """The catalog entry that the scenes belong to, if any."""
    storage: Mapping[str, Any] = field(default_factory=dict)
    """Options per URL prefix that the source itself asks for (the catalog's)."""


class SceneStream:
    """Scenes of one source, made while iterating; iterate again and the source is asked again.

    Attributes
    ----------
    recipe
        How the scenes are found, as JSON values without secrets: enough to ask again (`resolve_recipe`).
    axis
        ``"time"`` for scenes that come with datetimes, ``"scene"`` for plain files.
    storage
        Options per URL prefix: the catalog's, overlaid with the user's.
    dataset
        The catalog entry that the scenes belong to, or None.
    total
        Scenes expected, where that is known beforehand; else None.
    """

    def __init__(
        self,
        source: Source,
        *,
        recipe: Mapping[str, Any],
        storage: Mapping[str, Any] | None = None,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        limit: int | None = None,
    ) -> None:
        self._source = source
        self.recipe = recipe
        self.axis: Axis = source.axis
        self.storage: Mapping[str, Any] = merged(source.storage, storage or {})
        self.dataset = source.dataset
        known = source.total
        self.total = known if limit is None or known is None else min(known, limit)
        self._limit = limit
        self._on_error: OnError = on_error
        self._progress = progress
        self._refusals = Refusals(on_error)

    @property
    def failures(self) -> tuple[SceneFailure, ...]:
        """Scenes refused so far by the newest iteration; complete when it has ended."""
        return tuple(self._refusals.failures)

    def __iter__(self) -> Iterator[Scene]:
        self._refusals = Refusals(self._on_error)
        scenes = islice(iter(self._source.produce(self._refusals)), self._limit)
        for count, scene in enumerate(scenes, start=1):
            yield scene
            if self._progress is not None:
                self._progress(count, self.total)
