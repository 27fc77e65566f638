"""Images of a TIFF to pyramids: full-resolution pages, each with its overviews and masks, as GDAL groups them."""

from dataclasses import dataclass, field

from rasteret_refs.tiff.values import ImageDescription, Role, TiffFile, TiffImage
from rasteret_refs.virtual.values import Level, Pyramid

_BYTE = 8


@dataclass(slots=True)
class _Page:
    """A full-resolution image while its overviews and masks are gathered."""

    image: TiffImage
    mask: TiffImage | None = None
    overviews: list[TiffImage] = field(default_factory=list)
    overview_masks: dict[tuple[int, int], list[TiffImage]] = field(default_factory=dict)
    """By width and height."""


def pyramids(file: TiffFile) -> tuple[Pyramid, ...]:
    """Group a file's images by what they are for.

    The rules are GDAL's (`GTiffDataset::ScanDirectories`): the first IFD is a full-resolution image whatever it says;
    reduced images with as many samples are its overviews, a mask of its size is its mask, a reduced mask belongs to
    the overview of its size. GDAL gives all overviews of a file to its first page; here they belong to the page that
    they follow, and SubIFDs to their parent. Images that fit nowhere are left out, and so is an "overview" as large as
    its image.

    Returns
    -------
    tuple of Pyramid
        `image`, `image_1`, …, in the order of the file; levels finest first, one a factor.
    """
    pages: list[_Page] = []
    by_number: dict[int, _Page] = {}
    for image in file.images:
        role = image.description.role
        if image.parent is None and (not pages or role is Role.IMAGE):
            pages.append(_Page(image))
            by_number[image.page] = pages[-1]
            continue
        page = by_number.get(image.parent) if image.parent is not None else (pages[-1] if pages else None)
        if page is not None:
            _attach(page, image)
    return tuple(
        Pyramid(name="image" if number == 0 else f"image_{number}", levels=_levels(page))
        for number, page in enumerate(pages)
    )


def decimation(full: ImageDescription, overview: ImageDescription) -> int:
    """Decimation factor of an overview, rounded: along the width unless that is far smaller (`GDALComputeOvFactor`)."""
    if full.width >= full.height // 2:
        return max(1, int(0.5 + full.width / overview.width))
    return max(1, int(0.5 + full.height / overview.height))


def _attach(page: _Page, image: TiffImage) -> None:
    full, found = page.image.description, image.description
    if found.role is Role.OVERVIEW and found.samples == full.samples:
        page.overviews.append(image)
    elif found.role is Role.MASK and page.mask is None and _masks(image, page.image):
        page.mask = image
    elif found.role is Role.OVERVIEW_MASK:
        page.overview_masks.setdefault((found.width, found.height), []).append(image)


def _masks(mask: TiffImage, image: TiffImage) -> bool:
    """Whether a mask fits an image: same size, 1 or 8 bits, one sample or as many as the image."""
    found, target = mask.description, image.description
    return (
        (found.width, found.height) == (target.width, target.height)
        and found.bits in {1, _BYTE}
        and found.samples in {1, target.samples}
    )


def _levels(page: _Page) -> tuple[Level, ...]:
    levels = {1: Level(factor=1, image=page.image, mask=page.mask)}
    for overview in page.overviews:
        factor = decimation(page.image.description, overview.description)
        if factor in levels:
            continue  # two overviews of one factor: the first counts, as in GDAL's search for a best one
        size = overview.description.width, overview.description.height
        candidates = page.overview_masks.get(size, ())
        mask = next((mask for mask in candidates if _masks(mask, overview)), None)
        levels[factor] = Level(factor=factor, image=overview, mask=mask)
    return tuple(levels[factor] for factor in sorted(levels))
