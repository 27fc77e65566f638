"""Which pixels a mask asset hides: by values, or by bits of a quality band. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError

CLOUDS: Mapping[str, Any] = {
    "scl": [3, 8, 9, 10],
    "SCL": [3, 8, 9, 10],
    "qa_pixel": {"bits": [1, 2, 3, 4]},
    "Fmask": {"bits": [1, 2, 3]},
}
"""Cloud and shadow: Sentinel-2's scene classification (3 shadow, 8 and 9 cloud, 10 cirrus; L2A product format), Landsat
Collection 2 QA_PIXEL (dilated cloud, cirrus, cloud, shadow; LSDS-1619) and HLS Fmask (cloud, adjacent, shadow;
HLS User Guide 2.0, table 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What one asset hides."""

    asset: str
    values: tuple[int, ...] = ()
    """Pixel values that hide."""
    bits: int = 0
    """Any of these bits set hides."""

    def hidden(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell which pixels are hidden."""
        found = np.isin(pixels, self.values) if self.values else np.zeros(pixels.shape, dtype=bool)
        if self.bits:
            found |= (pixels & pixels.dtype.type(self.bits)) != 0
        return found


def parse_masks(mask: Any, assets: Iterable[str]) -> tuple[Mask, ...]:
    """Understand `mask=`.

    Parameters
    ----------
    mask
        None; `{"scl": [3, 8]}`: values; `{"qa_pixel": {"bits": [3, 4]}}`: bits; `"clouds"`: what hides clouds and their
        shadows in the assets at hand.
    assets
        All assets of the collection.

    Raises
    ------
    QueryError
        An asset that is not there, a rule that cannot be understood, or `"clouds"` where no known asset tells of them.
    """
    if mask is None:
        return ()
    known = list(assets)
    if mask == "clouds":
        mask = {asset: rule for asset, rule in CLOUDS.items() if asset in known}
        if not mask:
            raise QueryError(f"expected one of the assets {list(CLOUDS)} for mask='clouds', found {known}")
    if not isinstance(mask, Mapping):
        raise QueryError(f"expected mask= like {{'scl': [3, 8]}} or 'clouds', found {mask!r}")
    return tuple(_parse(asset, rule, known) for asset, rule in mask.items())


def _parse(asset: str, rule: Any, known: list[str]) -> Mask:
    if asset not in known:
        raise QueryError(f"expected a mask asset among {known}, found {asset!r}")
    if isinstance(rule, Mapping) and set(rule) == {"bits"}:
        return Mask(asset=asset, bits=sum(1 << int(bit) for bit in set(rule["bits"])))
    if isinstance(rule, Iterable) and not isinstance(rule, str | Mapping):
        return Mask(asset=asset, values=tuple(int(value) for value in rule))
    raise QueryError(f"expected values or {{'bits': […]}} for mask asset {asset!r}, found {rule!r}")
