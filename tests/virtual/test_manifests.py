"""Chunk manifests put together from images that are described by hand."""

import numpy as np
import pytest

from rasteret_refs.tiff.values import ImageDescription, Planar, Role, SampleFormat, TiffImage
from rasteret_refs.virtual.manifests import Entry, stack_manifest


def image(first, *, width=200, height=130, samples=1, planar=Planar.CHUNKY, sparse=()):
    description = ImageDescription(
        byte_order="<",
        width=width,
        height=height,
        samples=samples,
        bits=8,
        sample_format=SampleFormat.UNSIGNED,
        planar=planar,
        photometric=1,
        compression=1,
        tiled=True,
        chunk_width=64,
        chunk_height=64,
        role=Role.IMAGE,
    )
    offsets = first + 10 * np.arange(description.chunk_count, dtype=np.int64)
    sizes = np.full(description.chunk_count, 10, np.int64)
    for chunk in sparse:
        offsets[chunk] = sizes[chunk] = 0
    return TiffImage(description=description, offsets=offsets, byte_counts=sizes, ifd_offset=8, page=0)


def encode(value):
    return f"all {value}".encode()


def resolved(manifest):
    """What each chunk is: (url, offset, size), or the inlined bytes."""
    return [
        manifest.inlined[manifest.inline[n]]
        if manifest.inline is not None and manifest.inline[n] >= 0
        else (manifest.urls[manifest.url_index[n]], manifest.offsets[n], manifest.sizes[n])
        for n in range(len(manifest))
    ]


def test_full_stacks_list_every_chunk_of_each_image_in_order_without_inlining():
    entries = [Entry(0, image(100), "a", 0), Entry(1, image(5000), "b", 0)]
    manifest = stack_manifest(entries, rows=2, grid=(1, 3, 4), hole_fills=0, fill_chunk=encode)
    assert manifest.inline is None
    assert resolved(manifest) == [("a", 100 + 10 * n, 10) for n in range(12)] + [
        ("b", 5000 + 10 * n, 10) for n in range(12)
    ]
    assert manifest.url_index.dtype == np.int32
    assert manifest.offsets.dtype == manifest.sizes.dtype == np.int64


def test_holes_and_sparse_chunks_are_inlined_once_per_value():
    entries = [Entry(0, image(100, sparse=(3, 5)), "a", float("nan")), Entry(2, image(5000), "b", 7)]
    manifest = stack_manifest(entries, rows=4, grid=(1, 3, 4), hole_fills=float("nan"), fill_chunk=encode)
    found = resolved(manifest)
    assert list(manifest.inlined) == [b"all nan"]
    assert found[3] == found[5] == b"all nan"
    assert found[12:24] == found[36:] == [b"all nan"] * 12
    assert found[24] == ("b", 5000, 10)
    inlined = manifest.inline >= 0
    np.testing.assert_array_equal(manifest.url_index == -1, inlined)
    assert not manifest.offsets[inlined].any()
    assert not manifest.sizes[inlined].any()


def test_holes_may_differ_by_row():
    manifest = stack_manifest(
        [Entry(1, image(0, width=64, height=64), "a", 9)],
        rows=3,
        grid=(1, 1, 1),
        hole_fills=[0, 0, 255],
        fill_chunk=encode,
    )
    assert resolved(manifest) == [b"all 0", ("a", 0, 10), b"all 255"]


@pytest.mark.parametrize(("planar", "samples", "planes"), [(Planar.CHUNKY, 1, 1), (Planar.SEPARATE, 3, 3)])
def test_smaller_images_lie_in_the_corner_of_the_chunk_grid(planar, samples, planes):
    small = image(100, width=128, height=64, samples=samples, planar=planar)
    manifest = stack_manifest([Entry(0, small, "a", 5)], rows=1, grid=(planes, 2, 3), hole_fills=0, fill_chunk=encode)
    found = np.array([chunk if isinstance(chunk, bytes) else str(chunk[1]) for chunk in resolved(manifest)]).reshape(
        planes, 2, 3
    )
    for plane in range(planes):
        assert found[plane, 0, :2].tolist() == [str(100 + 20 * plane), str(110 + 20 * plane)]
        assert set(found[plane, 1]) | {found[plane, 0, 2]} == {"all 5"} or set(found[plane, 1]) == {b"all 5"}


def test_one_object_in_two_rows_is_listed_once():
    entries = [Entry(0, image(0), "a", 0), Entry(1, image(0), "a", 0), Entry(2, image(0, sparse=(0,)), "b", 0)]
    manifest = stack_manifest(entries, rows=3, grid=(1, 3, 4), hole_fills=0, fill_chunk=encode)
    assert list(manifest.urls) == ["a", "b"]
    assert resolved(manifest)[12] == ("a", 0, 10)
    assert resolved(manifest)[24] == b"all 0"
