"""Chips of a collection, against rasterio: where they lie, their pixels, labels, masks and order."""

import copy
import datetime as dt
import pickle

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from rasteret_refs.ml.chips import starts
from rasteret_refs.ml.entry import chip_source
from tests.ml.scenes import AssetSpec, SceneSpec, collection, read

SCENES = [
    SceneSpec(id="a", day=0, properties=(("split", "train"), ("kind", "city"), ("yield_", 1.5))),
    SceneSpec(id="b", day=40, x=603_000.0, properties=(("split", "train"), ("kind", "field"), ("yield_", 2.5))),
    SceneSpec(id="c", day=80, properties=(("split", "val"), ("kind", "city"), ("yield_", 3.5))),
]
ASSETS = [AssetSpec(name="red"), AssetSpec(name="nir"), AssetSpec(name="scl", pixel=20.0, dtype="uint8", high=12)]


@pytest.fixture(scope="module", params=["grids", "stack"])
def made(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("chips")
    return directory, collection(directory, SCENES, ASSETS, layout=request.param)


def expected(directory, chip, asset):
    whole = read(directory, chip["scene"], asset)
    if asset == "scl":
        whole = whole.repeat(2, axis=1).repeat(2, axis=2)
    padded = np.pad(whole, [(0, 0), (500, 500), (500, 500)])
    top, left = chip["row"] + 500, chip["col"] + 500
    return padded[:, top : top + chip["size"], left : left + chip["size"]]


def test_chips_are_the_pixels_of_their_scenes(made):
    directory, found = made
    source = chip_source(found, 96, ["red", "scl", "nir"], stride=80)
    batch = source.read(range(len(source)))
    assert batch["image"].dtype == np.uint16
    for chip, image in zip(source.chips.to_pylist(), batch["image"], strict=True):
        wanted = np.concatenate([expected(directory, chip, asset) for asset in ("red", "scl", "nir")])
        assert np.array_equal(image, wanted)
    assert batch["scene"].tolist() == source.chips["scene_row"].to_pylist()


def test_any_order_of_chips_gives_the_same_pixels(made):
    _, found = made
    source = chip_source(found, 64, ["red"])
    whole = source.read(range(len(source)))["image"]
    order = np.random.default_rng(0).permutation(len(source))[:20]
    assert np.array_equal(source.read(order)["image"], whole[order])
    assert np.array_equal(source.read([-1])["image"][0], whole[-1])
    with pytest.raises(IndexError, match="places from 0"):
        source.read([len(source)])


@given(length=st.integers(1, 500), size=st.integers(1, 200), stride=st.integers(1, 200))
def test_gridded_chips_reach_both_ends(length, size, stride):
    found = starts(length, size, stride)
    assert found[0] == 0
    assert found[-1] == max(length - size, 0)
    assert (np.diff(found) <= stride).all()
    assert (np.diff(found) > 0).all()


def test_splits_and_times_choose_scenes(made):
    _, found = made
    assert set(chip_source(found, 100, split="train").chips["scene"].to_pylist()) == {"a", "b"}
    assert set(chip_source(found, 100, time="2024-02/..").chips["scene"].to_pylist()) == {"b", "c"}
    assert set(chip_source(found, 100, time="2024-02-10").chips["scene"].to_pylist()) == {"b"}
    with pytest.raises(QueryError, match="expected a column out of"):
        chip_source(found, 100, split="train", split_column="fold")


def test_a_view_gives_the_chips_of_its_scenes(made):
    directory, found = made
    source = chip_source(found.where("split = 'val'"), 128, ["nir"])
    assert set(source.chips["scene"].to_pylist()) == {"c"}
    chip = source.chips.to_pylist()[3]
    assert np.array_equal(source.read([3])["image"][0], expected(directory, chip, "nir"))


def test_random_chips_follow_from_seed_and_epoch(made):
    directory, found = made
    one, other = (chip_source(found, 50, ["red"], random=40, seed=3) for _ in range(2))
    assert one.chips.equals(other.chips)
    assert len(one) == 40
    first = one.chips
    one.set_epoch(1)
    assert not one.chips.equals(first)
    other.set_epoch(1)
    assert one.chips.equals(other.chips)
    assert not chip_source(found, 50, ["red"], random=40, seed=4).chips.equals(first)
    for chip, image in zip(one.chips.to_pylist(), one.read(range(40))["image"], strict=True):
        assert np.array_equal(image, expected(directory, chip, "red"))
        assert 0 <= chip["row"] <= 250


def test_text_labels_are_classes_that_all_splits_share(made):
    _, found = made
    train, val = (chip_source(found, 100, label="kind", split=split) for split in ("train", "val"))
    assert train.labels.classes == val.labels.classes == ("city", "field")
    assert set(train.read(range(len(train)))["label"].tolist()) == {0, 1}
    assert val.read([0])["label"].dtype == np.int64
    quantities = chip_source(found, 100, label="yield_").read([0])["label"]
    assert quantities.dtype == np.float32
    assert quantities[0] == 1.5


def test_scenes_without_a_label_are_left_out(made):
    _, found = made
    some = found.annotate({"id": ["a", "c"], "crop": [7, 9]}, on="id", write=False)
    source = chip_source(some, 100, label="crop")
    batch = source.read(range(len(source)))
    assert dict(zip(source.chips["scene"].to_pylist(), batch["label"].tolist(), strict=True)) == {"a": 7, "c": 9}


def test_weights_make_classes_equal(made):
    _, found = made
    source = chip_source(found, 100, label="kind")
    weights, labels = source.weights("label"), np.array(source.chips["label"])
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())


def test_a_raster_label_is_aligned_with_the_chip_and_int64(made):
    directory, found = made
    source = chip_source(found, 70, ["red"], label="scl", random=5)
    batch = source.read(range(5))
    assert batch["mask"].dtype == np.int64
    for chip, mask in zip(source.chips.to_pylist(), batch["mask"], strict=True):
        assert np.array_equal(mask, expected(directory, chip, "scl")[0])


def test_masked_chips_are_left_out_and_pixels_told(made):
    directory, found = made
    hidden = [1, 2, 3, 4, 5]
    everything = chip_source(found, 20, ["red"], mask_assets={"scl": hidden})
    kept = chip_source(found, 20, ["red"], mask_assets={"scl": hidden}, max_masked=0.45)
    shares = {
        (chip["scene"], chip["row"], chip["col"]): np.isin(expected(directory, chip, "scl"), hidden).mean()
        for chip in everything.chips.to_pylist()
    }
    wanted = [key for key, share in shares.items() if share <= 0.45]
    assert 0 < len(wanted) < len(shares)
    assert [(chip["scene"], chip["row"], chip["col"]) for chip in kept.chips.to_pylist()] == wanted
    batch = kept.read([0])
    assert np.array_equal(~batch["valid"][0], np.isin(expected(directory, kept.chips.to_pylist()[0], "scl"), hidden)[0])


def test_flag_masks_look_at_bits(made):
    directory, found = made
    source = chip_source(found, 30, ["red"], mask_assets={"scl": {"bits": [1, 3]}})
    chip = source.chips.to_pylist()[4]
    assert np.array_equal(~source.read([4])["valid"][0], (expected(directory, chip, "scl")[0] & 0b1010) != 0)


def test_points_are_at_the_middle_of_chips_of_every_scene_there(made):
    directory, found = made
    x, y = 600_555.0, 1_498_444.0  # in column 55 and row 155 of a and c
    longitude, latitude = Transformer.from_crs(32643, 4326, always_xy=True).transform(x, y)
    source = chip_source(found, 32, ["red"], points={"lon": [0.0, longitude], "lat": [0.0, latitude], "crop": [4, 5]},
                         label="crop")  # fmt: skip
    assert [(chip["scene"], chip["row"], chip["col"]) for chip in source.chips.to_pylist()] == [
        ("a", 155 - 16, 55 - 16),
        ("c", 155 - 16, 55 - 16),
    ]
    assert source.chips["point"].to_pylist() == [1, 1]
    batch = source.read([0, 1])
    assert batch["label"].tolist() == [5, 5]
    assert batch["image"][0, 0, 16, 16] == read(directory, "a", "red")[0, 155, 55]


def test_geometries_in_any_crs_are_taken_by_their_middle(made):
    _, found = made
    box = shapely.box(603_100, 1_497_500, 603_300, 1_497_700)
    frame = geopandas.GeoDataFrame({"name": ["field"]}, geometry=[box], crs="EPSG:32643")
    source = chip_source(found, 40, ["red"], geometries=frame, label="name")
    (chip,) = source.chips.to_pylist()
    assert (chip["scene"], chip["row"], chip["col"]) == ("b", 240 - 20, 20 - 20)
    assert source.labels.classes == ("field",)
    longitude_latitude = frame.to_crs(4326).geometry
    assert chip_source(found, 40, ["red"], geometries=list(longitude_latitude)).chips["row"].to_pylist() == [220]


def test_a_point_near_the_edge_has_a_chip_padded_with_nodata(made):
    directory, found = made
    longitude, latitude = Transformer.from_crs(32643, 4326, always_xy=True).transform(600_015.0, 1_499_985.0)
    source = chip_source(found.select(["a"]), 16, ["red"], points=[(longitude, latitude)])
    (image,) = source.read([0])["image"][0]
    assert (image[:7] == 0).all()
    assert np.array_equal(image[7:, 7:], read(directory, "a", "red")[0, :9, :9])


def test_labels_may_be_by_tile(made):
    _, found = made
    rows = [
        {"id": "a", "row": r, "column": c, "crop": r * 3 + c} for r in range(3) for c in range(3) if (r, c) != (1, 1)
    ]
    collection_ = type("Annotated", (), {"reader": found.reader, "scenes": found.scenes, "view": type(
        "View", (), {"tiles": pa.Table.from_pylist(rows)})()})()  # fmt: skip
    source = chip_source(collection_, 64, ["red"], label="crop", stride=64)
    assert set(source.chips["scene"].to_pylist()) == {"a"}
    for chip in source.chips.to_pylist():
        row, column = (chip["row"] + 32) // 128, (chip["col"] + 32) // 128
        assert (row, column) != (1, 1)
        assert source.labels.values[source.chips.to_pylist().index(chip)] == row * 3 + column


def test_float32_is_made_when_asked_for(made):
    directory, found = made
    source = chip_source(found, 60, ["nir"], dtype="float32")
    image = source.read([2])["image"]
    assert image.dtype == np.float32
    assert np.array_equal(image[0], expected(directory, source.chips.to_pylist()[2], "nir").astype(np.float32))


def test_a_source_survives_pickling_and_copying(made):
    _, found = made
    source = chip_source(found, 64, ["red"], label="kind")
    image = source.read([3, 7])["image"]
    sent = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
    assert np.array_equal(sent.read([3, 7])["image"], image)
    assert np.array_equal(copy.deepcopy(source).read([3, 7])["image"], image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assets": ["blue"]}, "expected assets out of"),
        ({"chip_size": 0}, "chip_size to be a whole number above 0"),
        ({"stride": 3, "random": 3}, "one of stride, random"),
        ({"max_masked": 0.2}, "max_masked from 0 to 1 together with mask_assets"),
        ({"mask_assets": {"scl": "cloud"}}, "expected values or"),
        ({"series": {"freq": "MS"}}, "expected series="),
        ({"dtype": "float16"}, "dtype='native' or 'float32'"),
        ({"label": "crop"}, "expected a column out of"),
        ({"split": "trian"}, r"expected a split of 'split' out of \['train', 'val'\], got 'trian'"),
        ({"size": 3}, "expected options out of"),
        ({"time": "spring"}, "expected an interval"),
        ({"points": 3.0}, "expected points"),
        ({"points": [(600_500.0, 1_499_500.0)]}, r"in degrees, or with their CRS, got \(.*600500"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(made, options, message):
    _, found = made
    with pytest.raises((QueryError, TypeError), match=message):
        chip_source(found, **{"chip_size": 64, **options})


def test_points_that_all_lie_outside_are_refused_and_not_a_dataset_of_nothing(made):
    _, found = made
    source = chip_source(found, 64, points=[(13.56, 75.93)])  # latitude first
    with pytest.raises(QueryError, match=r"found none of 1 in any of \d+: are they \(longitude, latitude\)"):
        len(source)


def write_plain(path, data, **place):
    with rasterio.open(path, "w", driver="GTiff", width=data.shape[1], height=data.shape[0], count=1, dtype=data.dtype,
                       **place) as file:  # fmt: skip
        file.write(data, 1)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_assets_that_cannot_be_matched_pixel_by_pixel_are_refused(tmp_path):
    from rasterio.transform import from_origin

    rows = {"id": ["a"], "datetime": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]}
    for name, size, place in [
        ("utm", 64, {"crs": "EPSG:32643", "transform": from_origin(600_000, 1_500_000, 10, 10)}),
        ("degrees", 64, {"crs": "EPSG:4326", "transform": from_origin(75.9, 13.5, 1e-4, 1e-4)}),
        ("bare", 64, {}), ("small", 32, {}),
    ]:  # fmt: skip
        write_plain(tmp_path / f"{name}.tif", np.zeros((size, size), np.uint8), **place)
        rows[name] = [str(tmp_path / f"{name}.tif")]
    columns = {f"href.{name}": name for name in ("utm", "degrees", "bare", "small")}
    found = rr.build(pa.table(rows), tmp_path / "x.refs", columns=columns)
    with pytest.raises(QueryError, match="the assets of a scene in one CRS"):
        chip_source(found, 32, ["utm", "degrees"])
    with pytest.raises(QueryError, match="in the shape of"):
        chip_source(found, 32, ["bare", "small"])
    assert len(chip_source(found, 32, ["bare"], skip_empty=False)) == 4
