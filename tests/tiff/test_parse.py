"""Headers as bytes: formats, field types, chains, limits, truncation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_refs.errors import LimitError, NotATiffError, TiffError, TruncatedError, UnsupportedTiffError
from rasteret_refs.tiff.intern import interner
from rasteret_refs.tiff.parse import FIRST_READ, parse
from rasteret_refs.tiff.values import ByteRange, NeedsBytes, Planar, Role, SampleFormat, TiffFile
from rasteret_refs.tiff.windows import Windows
from tests.tiff import builder
from tests.tiff.builder import Builder, Ifd, build, gray
from tests.tiff.reading import described, parsed

ASCII, BYTE, DOUBLE, RATIONAL, UNDEFINED = (
    builder.ASCII,
    builder.BYTE,
    builder.DOUBLE,
    builder.RATIONAL,
    builder.UNDEFINED,
)
SHORT, LONG, LONG8, SLONG8, IFD8 = builder.SHORT, builder.LONG, builder.LONG8, builder.SLONG8, builder.IFD8

FORMATS = pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True), (">", True)])


def striped(count: int, **changes):
    """An image of `count` strips of one row."""
    return gray(
        t257=(SHORT, [count]),
        t278=(SHORT, [1]),
        t273=(LONG, list(range(8, 8 + count))),
        t279=(LONG, [4] * count),
        **changes,
    )


@FORMATS
def test_classic_and_bigtiff_of_both_byte_orders_give_the_same_image(order, big):
    file = parsed(build(striped(5), order=order, big=big))
    (image,) = file.images
    assert (file.byte_order, file.big, image.description.byte_order) == (order, big, order)
    assert (image.description.width, image.description.height, image.description.bits) == (4, 5, 8)
    assert image.offsets.dtype == np.int64
    assert image.offsets.tolist() == [8, 9, 10, 11, 12]
    assert image.byte_counts.tolist() == [4] * 5


@FORMATS
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG, 6, 8, 9, 13, LONG8, SLONG8, IFD8])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_offsets_and_counts_may_have_any_integer_type(order, big, kind, count):
    tags = striped(count)
    tags[273] = (kind, list(range(20, 20 + count)))
    tags[279] = (kind, [4] * count)
    (image,) = parsed(build(tags, order=order, big=big)).images
    assert image.offsets.tolist() == list(range(20, 20 + count))
    assert image.byte_counts.tolist() == [4] * count


@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG, 6, 8, 9, LONG8, SLONG8])
def test_sizes_may_have_any_integer_type(kind):
    found = described(build(gray(t256=(kind, [4]), t257=(kind, [3]), t258=(kind, [8]), t278=(kind, [3])), big=True))
    assert (found.width, found.height, found.bits, found.chunk_height) == (4, 3, 8, 3)


@FORMATS
def test_every_kind_of_value_is_read(order, big):
    tags = gray(
        t270=(ASCII, b"a picture\0"),
        t305=(ASCII, b"maker\0"),
        t306=(ASCII, b"2024:01:02 03:04:05\0"),
        t347=(UNDEFINED, b"\xff\xd8tables\xff\xd9"),
        t529=(RATIONAL, [299, 1000, 587, 1000, 114, 1000]),
        t530=(SHORT, [1, 1]),
        t532=(RATIONAL, [0, 1, 255, 1]),
        t33550=(DOUBLE, [10.0, 10.0, 0.0]),
        t33922=(DOUBLE, [0.0, 0.0, 0.0, 500.0, 600.0, 0.0]),
        t34735=(SHORT, [1, 1, 0, 1, 1025, 0, 1, 1]),
        t42112=(ASCII, "<GDALMetadata>µ</GDALMetadata>\0".encode()),
        t42113=(ASCII, b"-9999\0"),
        t50674=(LONG, [4, 2]),
        t50844=(DOUBLE, [0.0] * 92),
    )
    found = described(build(tags, order=order, big=big))
    assert (found.image_description, found.software, found.datetime_text) == (
        "a picture",
        "maker",
        "2024:01:02 03:04:05",
    )
    assert found.jpeg_tables == b"\xff\xd8tables\xff\xd9"
    assert found.ycbcr_coefficients == (0.299, 0.587, 0.114)
    assert (found.ycbcr_subsampling, found.reference_black_white) == ((1, 1), (0.0, 255.0))
    assert (found.gdal_metadata, found.nodata_text) == ("<GDALMetadata>µ</GDALMetadata>", "-9999")
    assert found.lerc_parameters == (4, 2)
    assert found.geo.pixel_scale == (10.0, 10.0, 0.0)
    assert found.geo.tiepoints == (0.0, 0.0, 0.0, 500.0, 600.0, 0.0)
    assert found.geo.key_directory == (1, 1, 0, 1, 1025, 0, 1, 1)
    assert found.geo.has_rpc


def test_what_a_tiff_leaves_out_takes_the_defaults_of_the_specification():
    found = described(build({256: (SHORT, [8]), 257: (SHORT, [2]), 273: (SHORT, [8]), 279: (SHORT, [2])}))
    assert (found.bits, found.samples, found.compression, found.predictor) == (1, 1, 1, 1)
    assert (found.planar, found.sample_format, found.fill_order) == (Planar.CHUNKY, SampleFormat.UNSIGNED, 1)
    assert (found.tiled, found.chunk_width, found.chunk_height, found.role) == (False, 8, 2, Role.IMAGE)
    assert (found.geo, found.nodata_text, found.color_map) == (None, None, None)


@pytest.mark.parametrize("rows", [4, 2**31, 2**32 - 1])
def test_rows_per_strip_beyond_the_image_means_the_whole_image(rows):
    assert described(build(gray(t278=(LONG, [rows])))).chunk_height == 3


def test_planes_of_one_sample_are_chunky():
    assert described(build(gray(t284=(SHORT, [2])))).planar is Planar.CHUNKY


def test_planes_multiply_the_chunks():
    tags = gray(t277=(SHORT, [3]), t284=(SHORT, [2]), t273=(LONG, [8, 20, 32]), t279=(LONG, [12] * 3))
    (image,) = parsed(build(tags)).images
    assert image.description.chunk_count == 3
    assert image.offsets.tolist() == [8, 20, 32]


def test_a_single_bits_value_stands_for_all_samples():
    tags = gray(t277=(SHORT, [3]), t279=(LONG, [36]))
    assert described(build(tags)).bits == 8


@pytest.mark.parametrize(
    ("compression", "predictor"), [(1, 1), (32773, 1), (7, 1), (5, 2), (8, 2), (32946, 2), (50000, 2), (34925, 2)]
)
def test_the_predictor_counts_only_where_libtiff_applies_it(compression, predictor):
    tags = gray(t259=(SHORT, [compression]), t317=(SHORT, [2]))
    assert described(build(tags)).predictor == predictor


@pytest.mark.parametrize(
    ("kind", "role"), [(0, Role.IMAGE), (1, Role.OVERVIEW), (2, Role.IMAGE), (4, Role.MASK), (5, Role.OVERVIEW_MASK)]
)
def test_new_subfile_type_tells_the_role(kind, role):
    found = described(build(gray(t254=(LONG, [kind]))))
    assert (found.role, found.page_type) == (role, kind)


@pytest.mark.parametrize(("old", "role"), [(1, Role.IMAGE), (2, Role.OVERVIEW), (3, Role.IMAGE)])
def test_the_old_subfile_type_stands_in_for_the_new_one(old, role):
    assert described(build(gray(t255=(SHORT, [old])))).role is role


def test_entries_of_unknown_type_or_tag_are_skipped():
    tags = gray() | {270: (1000, b"abcd", 4), 65000: (LONG, [1, 2, 3])}
    tags[270] = (99, b"abcd", 4)
    assert described(build(tags)).image_description is None


def test_the_first_of_several_equal_tags_counts():
    data = bytearray(build(gray(t258=(SHORT, [8]))))
    entry = data.index(b"\x03\x01\x03\x00")  # Compression, made a second ImageLength
    data[entry : entry + 2] = (257).to_bytes(2, "little")
    assert described(bytes(data)).height == 3


def test_equal_ifds_of_different_files_share_one_description():
    interner.cache_clear()  # other tests may have filled the bounded caches, which then forget at different times
    first = parsed(build(striped(5)))
    second = parsed(build(striped(5), data=bytes(200)))
    third = parsed(build(striped(5) | {256: (LONG, [4])}, order="<"))
    assert first.images[0].description is second.images[0].description
    assert first.images[0].description is third.images[0].description


def test_scenes_that_differ_in_their_place_only_differ_in_geo_only():
    place = {33550: (DOUBLE, [1.0, 1.0, 0.0]), 33922: (DOUBLE, [0.0, 0, 0, 5, 5, 0])}
    moved = place | {33922: (DOUBLE, [0.0, 0, 0, 6, 5, 0])}
    one, other = described(build(gray() | place)), described(build(gray() | moved))
    assert one is not other
    assert one.geo.tiepoints[3] == 5.0
    assert other.geo.tiepoints[3] == 6.0
    assert one is described(build(gray() | place, data=bytes(99)))


@FORMATS
def test_chains_and_sub_ifds_are_followed_in_order(order, big):
    reduced = gray(t254=(LONG, [1]), t256=(SHORT, [2]), t279=(LONG, [6]))
    smaller = gray(t254=(LONG, [1]), t256=(SHORT, [1]), t279=(LONG, [3]))
    data = build(Ifd(gray(), subs=[Ifd(reduced), Ifd(smaller)]), Ifd(gray(), subs=[Ifd(reduced)]), order=order, big=big)
    found = [(i.description.width, i.page, i.parent) for i in parsed(data).images]
    assert found == [(4, 0, None), (2, 0, 0), (1, 0, 0), (4, 1, None), (2, 1, 1)]


def test_a_chain_of_sub_ifds_belongs_to_its_parent():
    probe = Builder()
    probe.build([Ifd(gray(), subs=[Ifd(gray(t254=(LONG, [1])))]), Ifd(gray())])
    second = parsed(bytes(probe.out)).images[2].ifd_offset
    data = build(Ifd(gray(), subs=[Ifd(gray(t254=(LONG, [1])), next_offset=second)], next_offset=0), Ifd(gray()))
    assert [(i.page, i.parent) for i in parsed(data).images] == [(0, None), (0, 0), (0, 0)]


@pytest.mark.parametrize("target", [0, 1])
def test_a_loop_ends_the_chain_and_is_noted(target):
    plain = parsed(build(gray(), gray()))
    where = plain.images[target].ifd_offset
    file = parsed(build(Ifd(gray()), Ifd(gray(), next_offset=where)))
    assert [image.page for image in file.images] == [0, 1]
    assert file.refused == ((where, "another IFD points to it too: the chain forms a loop"),)


def test_what_is_wrong_in_the_first_ifd_is_raised_and_elsewhere_noted():
    bad = gray(t256=None)
    with pytest.raises(TiffError, match=r"ImageWidth \(tag 256\) is missing"):
        parsed(build(bad, gray()))
    file = parsed(build(gray(), bad, gray()))
    assert [image.page for image in file.images] == [0, 2]
    assert len(file.refused) == 1
    assert "ImageWidth" in file.refused[0][1]


def test_a_pointer_past_the_end_after_valid_ifds_is_noted():
    file = parsed(build(Ifd(gray(), next_offset=10**6)))
    assert len(file.images) == 1
    assert file.refused[0][0] == 10**6


def test_a_file_that_ends_right_before_the_next_pointer_is_read():
    data = build(gray(t258=(SHORT, [8])))
    assert len(parsed(data[:-4]).images) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "an HTML or XML page"),
        (b"  <html>", "an HTML or XML page"),
        (b'{"message": "no"}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
        (b"II", "II"),
    ],
)
def test_what_is_no_tiff_is_named(data, message):
    with pytest.raises(NotATiffError, match=message):
        parsed(data)


@pytest.mark.parametrize("data", [b"II*\0", b"MM\0*\0\0\0", b"II+\0\x08\0\0\0\x10\0\0\0"])
def test_a_file_that_ends_inside_its_header_is_truncated(data):
    with pytest.raises(TruncatedError):
        parsed(data)


def test_wrong_bigtiff_constants_are_refused():
    data = bytearray(build(gray(), big=True))
    data[4] = 4
    with pytest.raises(TiffError, match="offsets of 8 bytes"):
        parsed(bytes(data))


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_first_ifd_inside_the_header_is_refused(first):
    data = bytearray(build(gray()))
    data[4:8] = first.to_bytes(4, "little")
    with pytest.raises(TiffError, match="no image"):
        parsed(bytes(data))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"t256": (LONG, [0])}, TiffError, "ImageWidth .* is 0"),
        ({"t257": (LONG, [0])}, TiffError, "ImageLength .* is 0"),
        ({"t257": None}, TiffError, "ImageLength .* is missing"),
        ({"t256": (LONG, [2**32 - 1])}, LimitError, "ImageWidth"),
        ({"t256": (SHORT, [4, 4])}, TiffError, "expected one value"),
        ({"t256": (12, [4.0])}, TiffError, "expected integers"),
        ({"t256": (8, [-4])}, TiffError, "expected one value from 0 on"),
        ({"t277": (SHORT, [0])}, TiffError, "at least 1 sample"),
        ({"t258": (SHORT, [0])}, TiffError, "1 to 128 bits"),
        ({"t258": (SHORT, [129])}, TiffError, "1 to 128 bits"),
        ({"t277": (SHORT, [3]), "t258": (SHORT, [5, 6, 5])}, UnsupportedTiffError, "BitsPerSample .* differs"),
        ({"t277": (SHORT, [3]), "t258": (SHORT, [8, 8])}, TiffError, "one a sample"),
        ({"t277": (SHORT, [2]), "t339": (SHORT, [1, 3])}, UnsupportedTiffError, "SampleFormat .* differs"),
        ({"t339": (SHORT, [9])}, TiffError, "SampleFormat"),
        ({"t284": (SHORT, [3])}, TiffError, "PlanarConfiguration"),
        ({"t278": (SHORT, [0])}, TiffError, "RowsPerStrip .* is 0"),
        ({"t322": (SHORT, [0]), "t323": (SHORT, [16])}, TiffError, "TileWidth .* is 0"),
        ({"t322": (SHORT, [16])}, TiffError, "TileLength .* is missing"),
        ({"t322": (LONG, [2**31]), "t323": (LONG, [1])}, LimitError, "TileWidth"),
        ({"t322": (LONG, [2**30]), "t323": (LONG, [2**30])}, LimitError, "decodes to"),
        (
            {"t256": (LONG, [2**31 - 1]), "t257": (LONG, [2**31 - 1]), "t278": (SHORT, [1])},
            LimitError,
            "tiles or strips",
        ),
        ({"t273": None}, TiffError, "neither TileOffsets nor StripOffsets"),
        ({"t273": (LONG, [8], 2**32 - 1)}, LimitError, "4294967295 values"),
        ({"t258": (SHORT, [8], 2**32 - 1)}, LimitError, "4294967295 values"),
        ({"t273": (12, [8.0])}, TiffError, "expected integers"),
        ({"t273": (9, [-8])}, TruncatedError, "beyond"),
        ({"t279": (LONG, [12]), "t273": (LONG, [0])}, TiffError, "offset 0"),
        ({"t259": (SHORT, [8]), "t317": (SHORT, [255])}, UnsupportedTiffError, "Predictor .* is 255"),
        ({"t259": (SHORT, [8]), "t317": (SHORT, [3])}, UnsupportedTiffError, "Predictor .* is 3"),
        ({"t259": (SHORT, [8]), "t317": (SHORT, [2]), "t258": (SHORT, [12])}, UnsupportedTiffError, "12-bit"),
        ({"t32997": (SHORT, [2])}, UnsupportedTiffError, "ImageDepth"),
        ({"t270": None, "t34735": (SHORT, [1] * 4, 2**31)}, LimitError, "GeoKeyDirectory"),
    ],
)
def test_senseless_tags_are_refused_by_name(changes, error, message):
    with pytest.raises(error, match=message):
        parsed(build(gray(**changes)))


def test_counts_of_2_to_the_64_are_refused():
    with pytest.raises(LimitError, match="18446744073709551615 values"):
        parsed(build(gray(t273=(LONG8, [8], 2**64 - 1)), big=True))


def test_more_ifds_than_allowed_are_refused():
    with pytest.raises(LimitError, match="more than 3 IFDs"):
        parsed(build(*[gray()] * 4), ifds=3)


def test_more_entries_than_allowed_are_refused():
    with pytest.raises(LimitError, match="entries"):
        parsed(build(gray()), entries=5)
    file = parsed(build(gray(), gray()), all_entries=10)
    assert len(file.images) == 1
    assert "more than 10 entries" in file.refused[0][1]


def test_ifds_that_fill_the_memory_together_are_refused():
    file = parsed(build(*[striped(100)] * 5), header_bytes=4000)
    assert len(file.images) == 2
    assert all("bytes of memory" in reason for _, reason in file.refused)


def test_long_notes_are_left_out_and_long_metadata_refused():
    note = described(build(gray(t270=(ASCII, b"x" * 70_000))))
    assert note.image_description is None
    with pytest.raises(LimitError, match="GDALMetadata"):
        parsed(build(gray(t42112=(ASCII, b"x" * 70_000))), text_bytes=65536)


def test_gdals_ghost_area_is_read():
    body = b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
    area = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(body) + body
    file = parsed(build(gray(), data=area))
    assert dict(file.ghost) == {
        "LAYOUT": "IFDS_BEFORE_DATA",
        "BLOCK_ORDER": "ROW_MAJOR",
        "KNOWN_INCOMPATIBLE_EDITION": "NO",
    }


def test_an_unknown_file_is_asked_for_from_its_beginning():
    assert parse(Windows()) == NeedsBytes(ranges=(ByteRange(start=0, stop=FIRST_READ),))
    assert parse(Windows(100)) == NeedsBytes(ranges=(ByteRange(start=0, stop=100),))


def test_arrays_that_lie_outside_are_asked_for_exactly_and_at_once():
    data = build(striped(3000), striped(2000))
    offsets = [image.ifd_offset for image in parsed(data).images]
    windows = Windows(len(data))
    windows.add(0, data[:100])
    windows.add(offsets[0], data[offsets[0] : offsets[0] + 2 + 9 * 12 + 4])
    windows.add(offsets[1], data[offsets[1] : offsets[1] + 2 + 9 * 12 + 4])
    needs = parse(windows)
    assert isinstance(needs, NeedsBytes)
    first, second = offsets[0] + 114, offsets[1] + 114
    assert needs.ranges == (ByteRange(start=first, stop=second + 2000 * 8),)


def _complete(data: bytes, windows: Windows) -> TiffFile:
    for _ in range(64):
        answer = parse(windows)
        if isinstance(answer, TiffFile):
            return answer
        for wanted in answer.ranges:
            assert wanted.stop <= len(data)
            assert windows.view(wanted.start, wanted.stop) is None
            windows.add(wanted.start, data[wanted.start : wanted.stop])
    raise AssertionError("the parser never has enough")


def _facts(file: TiffFile):
    images = [
        (i.description, i.offsets.tolist(), i.byte_counts.tolist(), i.ifd_offset, i.page, i.parent) for i in file.images
    ]
    return images, file.byte_order, file.big, file.header_end, dict(file.ghost), file.refused


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_that_come_in_any_pieces_give_the_same_file(data):
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=000008 bytes\nLAYOUT=X"
    content = build(
        Ifd(striped(2000, t42112=(ASCII, b"<GDALMetadata/>\0")), subs=[Ifd(gray(t254=(LONG, [1])))]),
        Ifd(gray(t256=None)),
        Ifd(striped(9000)),
        order=data.draw(st.sampled_from("<>")),
        big=data.draw(st.booleans()),
        data=ghost + bytes(data.draw(st.sampled_from([0, 20_000]))),
    )
    windows = Windows(len(content))
    for _ in range(data.draw(st.integers(0, 6))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 30_000)))
        windows.add(start, content[start:stop])
    assert _facts(_complete(content, windows)) == _facts(parsed(content))


@pytest.mark.parametrize("big", [False, True])
def test_a_header_cut_at_any_byte_is_refused_or_tells_only_what_it_holds(big):
    content = build(gray(t270=(ASCII, b"a picture of it\0")), striped(7), big=big)
    whole = {image.ifd_offset: image for image in parsed(content).images}
    seen = set()
    for length in range(len(content)):
        try:
            file = parsed(content[:length])
        except (NotATiffError, TruncatedError):
            seen.add("refused")
            continue
        assert file.header_end <= length
        for image in file.images:
            seen.add(image.page)
            assert image.description == whole[image.ifd_offset].description
            assert image.offsets.tolist() == whole[image.ifd_offset].offsets.tolist()
    assert seen == {"refused", 0}  # the second image is whole only in the whole file
