"""Profiles: what decoding needs, equal for all images that share one Zarr array."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.tiff.values import ImageDescription, Planar
from rasteret_refs.virtual.values import CodecChain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """A codec chain with the bands that it is for. One object per distinct `key`, so `is` compares."""

    chain: CodecChain
    bands: int | None
    """Samples of the image; None for one sample, which has no band dimension."""
    key: str
    """Canonical JSON of all that makes the profile: also computed from an existing array's metadata."""

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell a variant `<asset>__<digest>`."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:8]

    @property
    def planes(self) -> int:
        """Chunks along the band dimension: the bands where planes are separate, else 1."""
        return 1 if self.bands is None else -(-self.bands // self.chain.chunk_shape[0])

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk of the array: one scene, then the chain's own shape."""
        return (1, *self.chain.chunk_shape)

    def shape(self, scenes: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of the array: (scenes, [bands,] height, width)."""
        return (scenes, height, width) if self.bands is None else (scenes, self.bands, height, width)


def profile_key(chain: CodecChain, bands: int | None) -> str:
    """Return the canonical JSON by which profiles are compared and hashed."""
    return json.dumps(
        [chain.dtype, list(chain.chunk_shape), bands, [dict(f) for f in chain.filters], chain.compressor],
        sort_keys=True,
        separators=(",", ":"),
        default=dict,
    )


_DECODING_FIELDS: Final = attrgetter(
    "byte_order",
    "width",
    "height",
    "samples",
    "bits",
    "sample_format",
    "planar",
    "photometric",
    "extra_samples",
    "compression",
    "predictor",
    "fill_order",
    "orientation",
    "tiled",
    "chunk_width",
    "chunk_height",
    "role",
    "jpeg_tables",
    "lerc_parameters",
    "ycbcr_subsampling",
    "ycbcr_coefficients",
    "reference_black_white",
    "t4_options",
    "t6_options",
    "nodata_text",
)
"""All of an `ImageDescription` that decoding may look at: georeferencing and other texts are left out."""


class Profiles:
    """Profiles of descriptions, each worked out once: by identity first, then by what decoding looks at."""

    def __init__(self, image_chain: Callable[..., CodecChain], mask_chain: Callable[..., CodecChain]) -> None:
        self._chains = (image_chain, mask_chain)
        self._by_identity: tuple[dict[int, Profile], dict[int, Profile]] = ({}, {})
        self._by_fields: dict[tuple[Any, ...], Profile | UnsupportedTiffError] = {}
        self._by_key: dict[str, Profile] = {}

    def __len__(self) -> int:
        """Distinct profiles so far."""
        return len(self._by_key)

    def of(self, description: ImageDescription, *, mask: bool = False) -> Profile:
        """Return the profile of an image (or of a mask image).

        Raises
        ------
        UnsupportedTiffError
            The image cannot be decoded; the same error for every image that says the same.
        """
        known = self._by_identity[mask].get(id(description))
        if known is not None:
            return known
        fields = (mask, *_DECODING_FIELDS(description))
        found = self._by_fields.get(fields)
        if found is None:
            found = self._by_fields[fields] = self._work_out(description, mask=mask)
        if isinstance(found, UnsupportedTiffError):
            raise found
        self._by_identity[mask][id(description)] = found
        return found

    def learn(self, description: ImageDescription, chain: CodecChain, bands: int | None) -> None:
        """Take the profile of an image from whoever knows it: nothing of the description is looked at."""
        self._by_identity[False][id(description)] = self.intern(chain, bands)

    def _work_out(self, description: ImageDescription, *, mask: bool) -> Profile | UnsupportedTiffError:
        try:
            chain = self._chains[mask](description)
        except UnsupportedTiffError as error:
            return error
        bands: int | None = None
        if len(chain.chunk_shape) == 3:  # noqa: PLR2004 - (bands, rows, columns)
            separate = description.planar is Planar.SEPARATE
            bands = description.samples if separate else chain.chunk_shape[0]
        return self.intern(chain, bands)

    def intern(self, chain: CodecChain, bands: int | None) -> Profile:
        """Return the one profile of this chain and band count."""
        key = profile_key(chain, bands)
        known = self._by_key.get(key)
        if known is None:
            known = self._by_key[key] = Profile(chain=chain, bands=bands, key=key)
        return known
