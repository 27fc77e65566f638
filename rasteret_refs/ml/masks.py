"""Which pixels of a mask asset count as masked: listed values, or set bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRule:
    """What hides a pixel, according to one asset."""

    asset: str
    values: tuple[int, ...] = ()
    """Pixels of these values are masked: classes, as in Sentinel-2's SCL."""
    bits: tuple[int, ...] = ()
    """Pixels with any of these bits set are masked, bit 0 being the lowest: flags, as in Landsat's QA_PIXEL."""

    def masked(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell which pixels are masked.

        Parameters
        ----------
        pixels
            Of the mask asset, integers of any shape.
        """
        if self.values:
            return np.isin(pixels, self.values)
        flags = sum(1 << bit for bit in self.bits)
        return np.asarray((pixels & pixels.dtype.type(flags)) != 0)


def mask_rules(given: Mapping[str, Any] | None) -> tuple[MaskRule, ...]:
    """Take over `{"scl": [3, 8, 9, 10]}` or `{"qa_pixel": {"bits": [1, 3, 4]}}`.

    Raises
    ------
    QueryError
        A rule of another form.
    """
    rules = []
    for asset, rule in (given or {}).items():
        if isinstance(rule, Mapping) and set(rule) == {"bits"} and _integers(rule["bits"]):
            rules.append(MaskRule(asset=asset, bits=tuple(rule["bits"])))
        elif _integers(rule):
            rules.append(MaskRule(asset=asset, values=tuple(rule)))
        else:
            raise QueryError(
                f"expected masked values like [3, 8] or {{'bits': [1, 3]}} for the mask asset {asset!r}, got {rule!r}"
            )
    return tuple(rules)


def _integers(values: Any) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) > 0
        and all(isinstance(value, int | np.integer) and value >= 0 for value in values)
    )
