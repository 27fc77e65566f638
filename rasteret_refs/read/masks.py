"""Which pixels a mask asset hides: by values, or by bits of a quality band. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError


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


def parse_masks(mask: Any, assets: Iterable[str], clouds: Callable[[list[str]], Mapping[str, Any]]) -> tuple[Mask, ...]:
    """Understand `mask=`.

    Parameters
    ----------
    mask
        None; `{"scl": [3, 8]}`: values; `{"qa_pixel": {"bits": [3, 4]}}`: bits; `"clouds"`: what hides clouds and their
        shadows in the assets at hand.
    assets
        All assets of the collection.
    clouds
        Called with the assets for `"clouds"`: gives the rules, see `clouds.cloud_rules`.

    Raises
    ------
    QueryError
        An asset that is not there, a rule that cannot be understood, or `"clouds"` where no known asset tells of them.
    """
    if mask is None:
        return ()
    known = list(assets)
    if mask == "clouds":
        mask = clouds(known)
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
