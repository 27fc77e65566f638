"""Pixels at rows and columns of an image, inside and outside of it, and of another resolution."""

import numpy as np
import pytest

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import images_of
from rasteret_refs.ml.pieces import lines_of, lines_on
from rasteret_refs.read.lines import window_of
from tests.ml.scenes import AssetSpec, SceneSpec, collection, read


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pieces")
    assets = [AssetSpec(name="red"), AssetSpec(name="coarse", pixel=20.0), AssetSpec(name="odd", pixel=15.0)]
    found = collection(directory, [SceneSpec(id="a")], assets)
    return directory, found, images_of(found.reader, found.scenes, ["red", "coarse", "odd"])


def pixels(found, images, lines, shape, outside=7):
    out = np.zeros((1, *shape), images.dtype)
    planned = window_of(images.arrays[0], 0, lines, out, outside=outside)
    if planned is not None:
        found.reader.read_many([planned])
    return out[0]


@pytest.mark.parametrize("corner", [(0, 0), (-10, 5), (280, 290), (-400, 0), (100, -5), (250, 600)])
def test_what_lies_outside_an_image_is_the_given_value(made, corner):
    directory, found, images = made
    (whole,) = read(directory, "a", "red")
    got = pixels(found, images["red"], lines_of(images["red"], 0, corner, (40, 30)), (40, 30))
    padded = np.pad(whole, 700, constant_values=7)
    top, left = corner[0] + 700, corner[1] + 700
    assert np.array_equal(got, padded[top : top + 40, left : left + 30])


def test_a_coarser_image_gives_each_pixel_the_one_that_holds_its_centre(made):
    directory, found, images = made
    (whole,) = read(directory, "a", "coarse")
    lines = lines_on(images["coarse"], 0, np.array([10, 0, 600_030, 0, -10, 1_499_990.0]), 51, 40)
    got = pixels(found, images["coarse"], lines, (51, 40))
    fine = whole.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(got, fine[1:52, 3:43])


def test_resolutions_that_do_not_divide_are_read_by_the_nearest_pixel(made):
    directory, found, images = made
    (whole,) = read(directory, "a", "odd")
    lines = lines_on(images["odd"], 0, np.array([10, 0, 600_000, 0, -10, 1_500_000.0]), 300, 300)
    got = pixels(found, images["odd"], lines, (300, 300))
    for row, column in [(0, 0), (1, 2), (17, 5), (149, 298), (299, 299)]:
        assert got[row, column] == whole[int((row + 0.5) * 10 / 15), int((column + 0.5) * 10 / 15)]


def test_a_grid_that_runs_from_south_to_north_turns_the_image_over(made):
    directory, found, images = made
    (whole,) = read(directory, "a", "red")
    lines = lines_on(images["red"], 0, np.array([10, 0, 600_000, 0, 10, 1_497_000.0]), 300, 300)
    assert np.array_equal(pixels(found, images["red"], lines, (300, 300)), whole[::-1])


def test_grids_rotated_against_each_other_are_refused(made):
    _, _, images = made
    with pytest.raises(QueryError, match="rotated against each other"):
        lines_on(images["red"], 0, np.array([7, 7, 600_000, 7, -7, 1_500_000.0]), 100, 100)


def test_pixels_are_read_into_a_wider_dtype(made):
    directory, found, images = made
    out = np.zeros((1, 50, 60), np.float32)
    planned = window_of(images["red"].arrays[0], 0, lines_of(images["red"], 0, (3, 4), (50, 60)), out, outside=0)
    found.reader.read_many([planned])
    assert np.array_equal(out, read(directory, "a", "red")[:, 3:53, 4:64].astype(np.float32))
