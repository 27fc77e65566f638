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

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Make sure that an array can tell what is hidden.

        Parameters
        ----------
        shape
            (scenes, rows, columns).

        Raises
        ------
        QueryError
            It has several bands, or not the bits that are asked for.
        """
        if len(shape) > 3:  # noqa: PLR2004 - scene, row, column
            raise QueryError(f"expected a mask asset of one band, found {shape[1]} bands in {self.asset!r}")
        if self.bits and (dtype.kind not in "iu" or self.bits >> 8 * dtype.itemsize):
            wanted = [bit for bit in range(self.bits.bit_length()) if self.bits >> bit & 1]
            raise QueryError(f"expected integers with the bits {wanted} in mask asset {self.asset!r}, found {dtype}")

    def hidden(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell which pixels are hidden."""
        found = np.isin(pixels, self.values) if self.values else np.zeros(pixels.shape, dtype=bool)
        if self.bits:
            unsigned = pixels.view(f"u{pixels.dtype.itemsize}")  # the highest bit of signed ones is a bit like others
            found |= (unsigned & unsigned.dtype.type(self.bits)) != 0
        return found


def parse_masks(mask: Any, assets: Iterable[str], clouds: Callable[[list[str]], Mapping[str, Any]]) -> tuple[Mask, ...]:
    """Understand `mask=`.

    Parameters
    ----------
    mask
        None; `{"scl": [3, 8]}`: values, whole numbers; `{"qa_pixel": {"bits": [3, 4]}}`: bits, 0 the lowest;
        `"clouds"`: what hides clouds and their shadows in the assets at hand.
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
    if isinstance(mask, str) and mask == "clouds":
        mask = clouds(known)
    if not isinstance(mask, Mapping):
        raise QueryError(f"expected masks like {{'scl': [3, 8]}} or 'clouds', found {mask!r}")
    return tuple(_parse(asset, rule, known) for asset, rule in mask.items())


def _parse(asset: str, rule: Any, known: list[str]) -> Mask:
    if asset not in known:
        raise QueryError(f"expected a mask asset among {known}, found {asset!r}")
    bits = isinstance(rule, Mapping) and set(rule) == {"bits"}
    values = _integers(rule["bits"] if bits else rule)
    if not values or (bits and min(values) < 0):
        raise QueryError(f"expected values or {{'bits': […]}} for mask asset {asset!r}, found {rule!r}")
    if bits:
        return Mask(asset=asset, bits=sum(1 << bit for bit in set(values)))
    return Mask(asset=asset, values=values)


def _integers(values: Any) -> tuple[int, ...]:
    """Take over one whole number or several; none where one of them is something else."""
    each = [values] if isinstance(values, int | float | np.number) else values
    if not isinstance(each, Iterable) or isinstance(each, str | bytes | Mapping):
        return ()
    numbers = list(each)
    whole = [int(n) for n in numbers if isinstance(n, int | float | np.number) and float(n).is_integer()]
    return tuple(whole) if len(whole) == len(numbers) else ()
