"""What the numbers of an asset mean: scale and offset per scene, from a sourced rule, STAC and the TIFF.

Nothing is applied here. Each source gives a `Calibration`; `Radiometry` holds them all and tells whether they agree,
so that a reader who is asked to scale can refuse, naming the scene, instead of choosing silently.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.sources import radiometry_rules
from rasteret_refs.sources.radiometry_rules import Facts, Finding

type Origin = Literal["rule", "stac", "tiff"]

# Scales are written in decimal with five or six digits, and stored as float32 by some tools.
_RELATIVE = 1e-5
_ABSOLUTE = 1e-9

RULES: Mapping[str, Callable[[Facts], Finding | None]] = {
    "sentinel-2-l2a": radiometry_rules.sentinel_2_l2a,
    "landsat-c2-l2": radiometry_rules.landsat_c2_l2,
    "hls-v2": radiometry_rules.hls_v2,
    "alphaearth-v1": radiometry_rules.alphaearth_v1,
}
"""Rules by the id that catalog entries name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From stored numbers to physical ones, as one source has it."""

    origin: Origin
    statement: str
    """Where exactly it is said, for messages."""
    scales: tuple[float, ...] = (1.0,)
    """One for each band, or one for all."""
    offsets: tuple[float, ...] = (0.0,)
    """Added after scaling; as many as `scales`."""
    signed_square: bool = False
    """Nonlinear: sign(v) · (|v| · scale)², then the offset."""
    unit: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that cannot scale anything."""
        if len(self.scales) != len(self.offsets) or not self.scales:
            raise QueryError(f"{self.statement}: expected as many offsets as scales")
        if not all(math.isfinite(one) and one != 0 for one in self.scales) or not all(map(math.isfinite, self.offsets)):
            raise QueryError(f"{self.statement}: expected finite scales other than 0, found {self.scales}")

    def agrees(self, other: "Calibration") -> bool:
        """Whether both give the same numbers, to five digits."""
        if self.signed_square != other.signed_square:
            return False
        bands = max(len(self.scales), len(other.scales))
        mine, theirs = self.per_band(bands), other.per_band(bands)
        return all(
            math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
            for one, two in zip(mine, theirs, strict=True)
            for a, b in zip(one, two, strict=True)
        )

    def apply(self, values: npt.NDArray[Any], *, band_axis: int | None = None) -> npt.NDArray[np.floating[Any]]:
        """Physical numbers of stored ones; nodata must be masked by the caller.

        Parameters
        ----------
        values
            Any real dtype.
        band_axis
            Axis of the bands, where they differ in scale.

        Returns
        -------
        array of float32, or float64 where `values` hold more than 16 bits
        """
        dtype = np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64  # noqa: PLR2004
        scale: npt.NDArray[Any] = np.asarray(self.scales, dtype)
        offset: npt.NDArray[Any] = np.asarray(self.offsets, dtype)
        if len(self.scales) > 1:
            if band_axis is None or values.shape[band_axis] != len(self.scales):
                raise QueryError(f"{self.statement}: expected an axis of {len(self.scales)} bands")
            shape = [1] * values.ndim
            shape[band_axis] = len(self.scales)
            scale, offset = scale.reshape(shape), offset.reshape(shape)
        scaled: npt.NDArray[Any] = values.astype(dtype) * scale
        if self.signed_square:
            scaled = np.copysign(scaled * scaled, scaled)
        result: npt.NDArray[np.floating[Any]] = (scaled + offset).astype(dtype)
        return result

    def per_band(self, bands: int) -> list[tuple[float, float]]:
        """(scale, offset) of each of `bands` bands."""
        pairs = list(zip(self.scales, self.offsets, strict=True))
        return pairs * bands if len(pairs) == 1 else pairs + pairs[-1:] * (bands - len(pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """All that is known of one asset of one scene."""

    scene: str
    asset: str
    sources: tuple[Calibration, ...] = ()
    """What was found: the rule, then STAC, then the TIFF. Empty: the numbers mean themselves."""
    doubts: tuple[str, ...] = ()
    """Flags of the item that contradict one another, in words."""

    @property
    def contradictory(self) -> bool:
        """Whether sources differ, or flags are in doubt."""
        return bool(self.doubts) or any(not self.sources[0].agrees(other) for other in self.sources[1:])

    def calibration(self, prefer: Origin | None = None) -> Calibration | None:
        """The one calibration that holds, or None where none is known.

        Parameters
        ----------
        prefer
            The source that the user trusts; None: all must agree.

        Raises
        ------
        QueryError
            Contradictory sources, named with the scene; or the preferred one says nothing while others do.
        """
        if prefer is not None:
            chosen = next((one for one in self.sources if one.origin == prefer), None)
            if chosen is None and self.sources:
                raise QueryError(f"{self.scene}, {self.asset}: {prefer!r} says nothing of scale and offset; {self}")
            return chosen
        if self.contradictory:
            raise QueryError(f"{self.scene}, {self.asset}: contradictory scale and offset; {self}")
        return self.sources[0] if self.sources else None

    def __str__(self) -> str:
        said = [
            f"{one.statement}: scale {_numbers(one.scales)}, offset {_numbers(one.offsets)}" for one in self.sources
        ]
        return "; ".join([*said, *self.doubts]) or "no source"


def radiometry(
    scene: str,
    asset: str,
    *,
    rule: str | None = None,
    item: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    collection: str | None = None,
    tiff: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Radiometry:
    """Collect what is known of the scale and offset of one asset of one scene.

    Parameters
    ----------
    scene, asset
        Id of the scene and name of the asset in the reference set.
    rule
        Id of a rule (`RULES`), as the catalog entry names it.
    item
        Properties of the scene.
    fields
        `Asset.properties`.
    collection
        Collection of the scene.
    tiff
        Scales and offsets of the TIFF's bands; 1 and 0 everywhere say nothing.

    Raises
    ------
    QueryError
        An unknown rule, or numbers that cannot scale.
    """
    fields = fields or {}
    if rule is not None and rule not in RULES:
        raise QueryError(f"expected a radiometry rule of {', '.join(RULES)}, found {rule!r}")
    found: list[Calibration] = []
    doubts: tuple[str, ...] = ()
    if rule is not None:
        key = str(fields.get("refs:key", asset))
        finding = RULES[rule](Facts(scene=scene, key=key, item=item or {}, fields=fields, collection=collection or ""))
        if finding is not None:
            doubts = finding.doubts
            if finding.scale is not None:
                found.append(
                    Calibration(
                        origin="rule",
                        statement=finding.statement,
                        scales=(finding.scale,),
                        offsets=(finding.offset,),
                        signed_square=finding.signed_square,
                        unit=finding.unit,
                    )
                )
    stated = stac_calibration(fields)
    if stated is not None:
        found.append(stated)
    if tiff is not None and (any(one != 1 for one in tiff[0]) or any(one != 0 for one in tiff[1])):
        scales, offsets = tuple(map(float, tiff[0])), tuple(map(float, tiff[1]))
        found.append(Calibration(origin="tiff", statement="the TIFF", scales=scales, offsets=offsets))
    return Radiometry(scene=scene, asset=asset, sources=tuple(found), doubts=doubts)


def stac_calibration(fields: Mapping[str, Any]) -> Calibration | None:
    """Scale and offset of `raster:bands` (STAC 1.0) or `bands` and `raster:scale` (STAC 1.1), or None.

    A band that names neither keeps its numbers: https://github.com/stac-extensions/raster (`scale` defaults to 1,
    `offset` to 0).
    """
    for field, prefix in (("raster:bands", ""), ("bands", "raster:")):
        bands = fields.get(field)
        if not isinstance(bands, Sequence) or isinstance(bands, str) or not bands:
            continue
        pairs = [_pair(band, prefix, fields if prefix else {}) for band in bands if isinstance(band, Mapping)]
        if any(pair is not None for pair in pairs):
            filled = [pair or (1.0, 0.0) for pair in pairs]
            if len(set(filled)) == 1:
                filled = filled[:1]
            scales, offsets = zip(*filled, strict=True)
            return Calibration(origin="stac", statement=f"STAC's {field}", scales=scales, offsets=offsets)
    pair = _pair(fields, "raster:", {})
    if pair is None:
        return None
    return Calibration(origin="stac", statement="STAC's raster:scale", scales=pair[:1], offsets=pair[1:])


def _pair(band: Mapping[str, Any], prefix: str, common: Mapping[str, Any]) -> tuple[float, float] | None:
    scale = band.get(prefix + "scale", common.get(prefix + "scale"))
    offset = band.get(prefix + "offset", common.get(prefix + "offset"))
    if scale is None and offset is None:
        return None
    return float(1.0 if scale is None else scale), float(0.0 if offset is None else offset)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{one:g}" for one in values)
