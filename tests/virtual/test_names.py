"""Which names are allowed, and ids out of file names."""

import pytest

from rasteret_refs.virtual.names import derived_from, name_problem, unique_ids


@pytest.mark.parametrize("name", ["red", "B04", "reflectance-10m", "SR_B4", "año", "a.b", "red__x", "red-jp2"])
def test_ordinary_names_are_allowed(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "empty"),
        (".zattrs", "dot"),
        ("..", "dot"),
        ("a/b", "'/'"),
        ("a\\b", r"\\"),
        ("a\x00", "x00"),
        ("a b", "white space"),
        ("a\u2028b", "u2028"),
        ("spatial_ref", "coordinate"),
        ("ID", "coordinate"),
        ("red__0123abcd", "variant"),
        ("a" * 129, "129"),
    ],
)
def test_other_names_are_refused_with_what_is_wrong_with_them(name, word):
    assert word in name_problem(name)


def test_derived_names_are_recognised_without_case():
    assert derived_from("Red_Mask", ["red"]) == "red"
    assert derived_from("red_scale", ["red", "nir"]) == "red"
    assert derived_from("red_edge", ["red"]) is None


def test_ids_are_file_names_without_the_ending():
    assert unique_ids(["/a/x.tif", "https://h/b/y.TIFF?v=1", "s3://k/z%20z.cog", "w.dat"]) == ("x", "y", "z z", "w.dat")


def test_repeated_file_names_get_as_many_folders_as_tell_them_apart():
    assert unique_ids(["/a/1/x.tif", "/a/2/x.tif", "/b/1/x.tif", "/a/y.tif"]) == ("a/1/x", "2/x", "b/1/x", "y")


def test_a_file_listed_twice_is_numbered():
    assert unique_ids(["/a/x.tif", "/a/x.tif", "/a/x-2.tif"]) == ("x", "x-3", "x-2")
