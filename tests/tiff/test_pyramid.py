"""Images grouped into pages with overviews and masks, against GDAL's own grouping."""

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy as rasterio_copy

from rasteret_refs.virtual.pyramid import pyramids
from tests.tiff.builder import LONG, SHORT, Ifd, build, gray
from tests.tiff.reading import parsed

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)


def sized(width: int, height: int, kind: int = 0, **changes):
    return gray(
        t254=(LONG, [kind]), t256=(SHORT, [width]), t257=(SHORT, [height]), t278=(SHORT, [height]),
        t279=(LONG, [width * height]), **changes,
    )  # fmt: skip


def shapes(data: bytes):
    return [
        (p.name, [(level.factor, level.image.description.width, level.mask is not None) for level in p.levels])
        for p in pyramids(parsed(data))
    ]


@pytest.mark.parametrize(
    ("width", "height", "blocksize"), [(700, 500, 64), (333, 1025, 32), (1025, 40, 16), (2745, 2745, 256)]
)
@pytest.mark.parametrize("mask", [False, True])
def test_cogs_have_the_overviews_and_masks_that_rasterio_lists(tmp_path, width, height, blocksize, mask):
    path = tmp_path / "cog.tif"
    plain = tmp_path / "plain.tif"
    profile = {"width": width, "height": height, "count": 3, "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(plain, "w", driver="GTiff", **profile) as target:
            target.write(np.ones((3, height, width), "uint8"))
            if mask:
                target.write_mask(np.eye(height, width, dtype=bool))
        rasterio_copy(plain, path, driver="COG", blocksize=blocksize)
    (pyramid,) = pyramids(parsed(path.read_bytes()))
    with rasterio.open(path) as source:
        if 2 * width >= height:  # rasterio divides widths only, which says little where the image is narrow
            assert [level.factor for level in pyramid.levels[1:]] == source.overviews(1)
        assert len(pyramid.levels) - 1 == len(source.overviews(1))
        assert (MaskFlags.per_dataset in source.mask_flag_enums[0]) == mask
    for number, level in enumerate(pyramid.levels):
        assert (level.mask is not None) == mask
        if number:
            with rasterio.open(path, overview_level=number - 1) as source:
                assert (level.image.description.width, level.image.description.height) == (source.width, source.height)
        if level.mask is not None:
            found = level.mask.description
            assert (found.width, found.height) == (level.image.description.width, level.image.description.height)


def test_gdaladdo_overviews_round_up_and_keep_their_factor(tmp_path):
    path = tmp_path / "added.tif"
    with rasterio.open(path, "w", driver="GTiff", width=101, height=75, count=1, dtype="uint8") as target:
        target.write(np.ones((1, 75, 101), "uint8"))
    with rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4, 8])
    (pyramid,) = pyramids(parsed(path.read_bytes()))
    assert [(level.factor, level.image.description.width) for level in pyramid.levels] == [
        (1, 101),
        (2, 51),
        (4, 26),
        (8, 13),
    ]


def test_pages_are_images_of_their_own(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for number in range(3):
            writer.write(np.full((20 + number, 30), number, "uint8"), contiguous=False)
    with tifffile.TiffFile(path) as source:
        expected = [(page.imagewidth, page.imagelength) for page in source.pages]
    found = pyramids(parsed(path.read_bytes()))
    assert [p.name for p in found] == ["image", "image_1", "image_2"]
    assert [(p.levels[0].image.description.width, p.levels[0].image.description.height) for p in found] == expected


def test_sub_ifds_are_overviews_of_their_parent(tmp_path):
    path = tmp_path / "sub.tif"
    data = np.zeros((128, 128), "uint8")
    with tifffile.TiffWriter(path) as writer:
        for _ in range(2):
            writer.write(data, subifds=2, tile=(16, 16))
            writer.write(data[::2, ::2], subfiletype=1, tile=(16, 16))
            writer.write(data[::4, ::4], subfiletype=1, tile=(16, 16))
    assert shapes(path.read_bytes()) == [
        ("image", [(1, 128, False), (2, 64, False), (4, 32, False)]),
        ("image_1", [(1, 128, False), (2, 64, False), (4, 32, False)]),
    ]


def test_overviews_and_masks_belong_to_the_page_before_them():
    data = build(
        sized(8, 8), sized(8, 8, 4), sized(4, 4, 1), sized(4, 4, 5), sized(2, 2, 1),
        sized(6, 6, 2), sized(3, 3, 1),
    )  # fmt: skip
    assert shapes(data) == [
        ("image", [(1, 8, True), (2, 4, True), (4, 2, False)]),
        ("image_1", [(1, 6, False), (2, 3, False)]),
    ]


def test_masks_may_come_before_the_overviews_that_they_mask():
    assert shapes(build(sized(8, 8), sized(4, 4, 5), sized(4, 4, 1))) == [("image", [(1, 8, False), (2, 4, True)])]


def test_the_first_image_is_a_page_whatever_it_says():
    assert shapes(build(sized(8, 8, 1), sized(4, 4, 1))) == [("image", [(1, 8, False), (2, 4, False)])]


def test_images_that_fit_nowhere_are_left_out():
    other_bands = sized(4, 4, 1) | {277: (SHORT, [3]), 279: (LONG, [48])}
    wrong_mask = sized(8, 7, 4)
    deep_mask = sized(8, 8, 4) | {258: (SHORT, [16]), 279: (LONG, [128])}
    same_size = sized(8, 8, 1)
    data = build(sized(8, 8), other_bands, wrong_mask, deep_mask, same_size)
    assert shapes(data) == [("image", [(1, 8, False)])]


def test_of_two_overviews_of_one_factor_the_first_counts():
    assert shapes(build(sized(9, 9), sized(5, 5, 1), sized(4, 4, 1))) == [("image", [(1, 9, False), (2, 5, False)])]


def test_a_full_resolution_sub_ifd_is_no_page():
    assert shapes(build(Ifd(sized(8, 8), subs=[Ifd(sized(6, 6))]))) == [("image", [(1, 8, False)])]
