"""Splits: reproducible, stable under growth, and without shared ground where that is promised."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.splits import (
    DROPPED,
    SplitRule,
    block_split,
    equal_area_blocks,
    leakage,
    random_split,
    stable_fractions,
    stratified_split,
    time_boundaries,
    time_split,
)

THREE = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_a_units_number_is_the_first_53_bits_of_keyed_blake2b():
    # Computed with coreutils' b2sum-compatible reference implementation in another process, not with numpy.
    code = (
        "import hashlib;print(int.from_bytes(hashlib.blake2b(b'S2A_1',digest_size=8,key=(7).to_bytes(8,'little'))"
        ".digest(),'little')/2**64)"
    )
    expected = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert stable_fractions(["S2A_1"], 7)[0] == pytest.approx(expected, abs=2**-52)


def test_random_splits_come_near_their_fractions():
    splits = random_split([f"scene-{k}" for k in range(20_000)], SplitRule(fractions=THREE))
    names, counts = np.unique(splits, return_counts=True)
    shares = dict(zip(names.tolist(), (counts / 20_000).tolist(), strict=True))
    assert shares == pytest.approx(THREE, abs=0.01)


@given(st.lists(st.text(min_size=1), min_size=2, unique=True), st.integers(min_value=0, max_value=2**32))
def test_growth_changes_no_split(ids, seed):
    rule = SplitRule(fractions=THREE, seed=seed)
    assert (random_split(ids[: len(ids) // 2], rule) == random_split(ids, rule)[: len(ids) // 2]).all()


def test_another_seed_gives_another_split():
    ids = [str(k) for k in range(1000)]
    first, second = (random_split(ids, SplitRule(fractions=THREE, seed=seed)) for seed in (0, 1))
    assert 0.2 < (first != second).mean() < 0.5


def test_stratified_splits_hold_the_fractions_within_each_label():
    labels = ["rare"] * 10 + ["common"] * 1000
    splits = stratified_split([str(k) for k in range(1010)], labels, SplitRule(fractions=THREE))
    assert [int((splits[:10] == name).sum()) for name in THREE] == [8, 1, 1]
    assert [int((splits[10:] == name).sum()) for name in THREE] == [800, 100, 100]


def test_blocks_have_equal_area_to_within_one_column_of_rounding():
    random = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(random.uniform(-1, 1, 400_000)))
    longitude = random.uniform(-180, 180, 400_000)
    _, counts = np.unique(equal_area_blocks(longitude, latitude, 1_000_000.0), axis=0, return_counts=True)
    middle = counts[(counts > np.percentile(counts, 5)) & (counts < np.percentile(counts, 95))]
    assert middle.std() / middle.mean() < 0.12


def test_a_block_split_keeps_scenes_of_a_place_together():
    random = np.random.default_rng(1)
    west, south = random.uniform(10, 11, 500), random.uniform(45, 46, 500)
    repeated = np.concatenate([np.stack([west, south, west + 0.001, south + 0.001], axis=1)] * 3)
    splits = block_split(repeated, SplitRule(fractions=THREE, by="block"))
    assert (splits[:500] == splits[500:1000]).all()
    assert len(np.unique(splits)) == 3


@pytest.mark.parametrize(("unit", "buffer_metres"), [("chip", 0.0), ("scene", 500.0), ("chip", 2000.0)])
def test_kept_footprints_of_different_splits_share_no_ground(unit, buffer_metres):
    columns, rows = np.meshgrid(np.arange(120), np.arange(120))
    west, south = 77 + columns.ravel() * 0.01, 12 + rows.ravel() * 0.01
    bounds = np.stack([west, south, west + 0.023, south + 0.023], axis=1)  # stride 0.01: neighbours overlap
    rule = SplitRule(fractions=THREE, by="block", unit=unit, buffer_metres=buffer_metres)
    splits = block_split(bounds, rule)
    assert leakage(bounds, splits).total == 0
    assert (splits != DROPPED).mean() > 0.25
    margin = buffer_metres / 111_200 / 2
    grown = bounds + np.array([-margin, -margin, margin, margin])
    assert leakage(grown, splits).total == 0


def test_leakage_counts_overlaps_between_splits_and_not_shared_edges():
    bounds = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [10, 10, 11, 11.0]])
    report = leakage(bounds, np.array(["train", "test", "train", "test"]))
    assert report.overlaps == {("test", "train"): 2}
    assert report.units == {"train": 2, "test": 2}
    assert "test-train: 2" in str(report)


def test_time_splits_are_ordered_and_their_recorded_boundaries_hold_later():
    times = np.array(["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"], dtype="datetime64[us]")
    rule = SplitRule(fractions={"train": 0.6, "test": 0.4}, by="time")
    assert time_split(times, rule).tolist() == ["train", "train", "train", "test", "test"]
    fixed = SplitRule(fractions=rule.fractions, by="time", boundaries=time_boundaries(times, rule))
    later = np.append(times, np.datetime64("2030-01-01", "us"))
    assert time_split(later, fixed).tolist() == ["train", "train", "train", "test", "test", "test"]


def test_a_rule_survives_its_record():
    rule = SplitRule(fractions=THREE, by="time", boundaries=("2024-01-01", "2024-02-01"), seed=-3)
    again = SplitRule(**{**rule.record(), "boundaries": tuple(rule.record()["boundaries"])})
    assert again == rule


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": {"train": 0.5}},
        {"fractions": {}},
        {"fractions": {"a": 1.5, "b": -0.5}},
        {"fractions": {"a": 1.0}, "by": "magic"},
        {"fractions": {"a": 1.0}, "unit": "pixel"},
        {"fractions": {"a": 1.0}, "block_metres": 0.0},
        {"fractions": THREE, "by": "time", "boundaries": ("2024-01-01",)},
    ],
)
def test_nonsense_rules_cannot_exist(wrong):
    with pytest.raises(QueryError, match="expected"):
        SplitRule(**wrong)
