"""Pixels of a plainly opened set against rasterio: exact equality, for full resolution, overviews and masks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import MaskFlags

from tests.oracle.matrix import truth
from tests.oracle.plain_set import PlainSet

Pixels = npt.NDArray[np.generic]


def same(ours: Pixels, theirs: Pixels) -> bool:
    """Equal in dtype, shape and every bit that counts: NaN equals NaN, -0.0 does not equal 0.0."""
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False
    if ours.dtype.kind in "fc":
        real = ours.real.dtype
        a, b = np.ascontiguousarray(ours).view(real), np.ascontiguousarray(theirs).view(real)
        return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))
    return np.array_equal(ours, theirs)


def has_internal_mask(file: rasterio.DatasetReader) -> bool:
    """Whether the file has a mask page (an alpha band is no mask page)."""
    flags = file.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def check_images(opened: PlainSet, path: Path) -> list[str]:
    """Compare the first page of a set's only file, its overviews and masks; returns what was compared."""
    images, masks = opened.named("image"), opened.named("image_mask")
    assert same(opened.image(*only(images, "factor_1")), truth(path))
    compared = ["full"]
    try:
        with rasterio.open(path) as file:
            factors = file.overviews(1)
            if has_internal_mask(file):
                assert same(opened.image(*only(masks, "factor_1"))[0], file.dataset_mask())
                compared.append("mask")
    except rasterio.RasterioIOError:
        return compared
    for level in range(len(factors)):
        with rasterio.open(path, overview_level=level) as file:
            fitting = [key for key, shape in images.items() if shape[-2:] == file.shape]
            assert len(fitting) == 1, (level, file.shape, images)
            group, _, array = fitting[0].rpartition("/")
            assert same(opened.image(group, array), file.read())
            compared.append(f"overview {level}")
            if has_internal_mask(file):
                assert same(opened.image(group, "image_mask")[0], file.dataset_mask())
                compared.append(f"mask of overview {level}")
    return compared


def only(paths: dict[str, tuple[int, ...]], factor: str) -> tuple[str, str]:
    """Group and name of the one array that lies in a group of this name."""
    fitting = [path for path in paths if path.split("/")[-2] == factor]
    assert len(fitting) == 1, (factor, paths)
    group, _, array = fitting[0].rpartition("/")
    return group, array
