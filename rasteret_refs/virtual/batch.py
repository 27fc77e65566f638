"""What all slots of one plan share: the sorted scenes, their columns, and caches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from rasteret_refs.virtual.existing import ExistingLayout
from rasteret_refs.virtual.layers import Descriptions
from rasteret_refs.virtual.profiles import Profile, Profiles
from rasteret_refs.virtual.values import CodecChain, PlannedScene


@dataclass(slots=True, kw_only=True)
class Batch:
    """The scenes of one plan and what is known about them."""

    scenes: Sequence[PlannedScene]
    """In order of the scene axis."""
    columns: Mapping[str, npt.NDArray[Any]]
    """Columns of the scene table, in the same order."""
    axis: str
    """Name of the scene axis."""
    timed: bool
    """Scenes have times: `time` is the axis or a coordinate along it."""
    descriptions: Descriptions
    fill_chunk: Callable[[CodecChain, Any], bytes]
    existing: ExistingLayout | None
    padded: bool
    """`stack` with a tolerance: images may be smaller than their array."""
    fills: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Encoded chunks by profile and value."""

    @property
    def profiles(self) -> Profiles:
        """Profiles of this plan."""
        return self.descriptions.profiles

    def fill(self, profile: Profile, value: Any) -> bytes:
        """Return an encoded chunk that decodes to one value, made once."""
        key = (profile.key, repr(value))
        chunk = self.fills.get(key)
        if chunk is None:
            chunk = self.fills[key] = self.fill_chunk(profile.chain, value)
        return chunk
