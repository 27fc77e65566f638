"""`annotate`, `split` and `info` on the command line."""

import json

import duckdb
import pytest
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.cli import main
from tests.collection.scenes import items


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def out(tmp_path):
    rr.build(items(tmp_path, count=4), tmp_path / "x.refs", layout="grids")
    return tmp_path / "x.refs"


def column(location, name):
    return dict(duckdb.sql(f"select id, {name} from '{location}/scenes.parquet'").fetchall())  # noqa: S608


def test_annotate_writes_the_columns_of_a_table(out, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,crop\nS2A_43PGQ_000,wheat\nS2A_43PHQ_001,rice\n")
    result = invoke("annotate", out, labels)
    assert result.exit_code == 0, result.output
    assert column(out, "crop")["S2A_43PHQ_001"] == "rice"
    copy = tmp_path / "copy.refs"
    labels.write_text("id,crop\nS2A_43PGQ_000,maize\nnobody,rice\n")
    refused = invoke("annotate", out, labels, "-o", copy)
    assert (refused.exit_code, "nobody" in refused.stderr, copy.exists()) == (1, True, False)
    result = invoke("annotate", out, labels, "-o", copy, "--ignore-unknown", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scenes"] == 4
    assert column(copy, "crop")["S2A_43PGQ_000"] == "maize"
    assert column(out, "crop")["S2A_43PGQ_000"] == "wheat"
    missing = invoke("annotate", out, tmp_path / "none.csv")
    assert (missing.exit_code, "none.csv" in missing.stderr) == (1, True)


def test_split_assigns_reports_and_is_told_by_info(out):
    result = invoke("split", out, "--train", 0.5, "--val", 0.25, "--test", 0.25, "--seed", 2, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert sum(report["units"].values()) == 4
    found = column(out, "split")
    assert {name: list(found.values()).count(name) for name in set(found.values())} == report["units"]
    told = json.loads(invoke("info", out, "--json").stdout)
    assert told["splits"]["split"] == {"scene": {"by": "id", "seed": 2, "counts": report["units"]}}
    assert told["dates"][0] < told["dates"][1]
    assert told["bbox"] == pytest.approx([75.92, 13.53, 76.87, 13.57], abs=0.05)
    text = invoke("info", out, "--where", "split = 'train'").stdout
    assert f"scenes {report['units'].get('train', 0)} dates" in " ".join(text.split())
    assert "split of scenes by id" in text


def test_split_by_chips_and_refusals(out, tmp_path):
    result = invoke("split", out, "--unit", "chip", "--chip-size", 64, "-o", tmp_path / "chips.refs")
    assert result.exit_code == 0, result.output
    assert "overlapping footprints of different splits: none" in result.stdout
    assert not (out / "tiles.parquet").exists()
    assert (tmp_path / "chips.refs" / "tiles.parquet").exists()
    refused = invoke("split", out, "--train", 0.9)
    assert (refused.exit_code, "sum to 1" in refused.stderr) == (1, True)
    wrong = invoke("info", out, "--where", "nothing = 3")
    assert (wrong.exit_code, "no column 'nothing'" in wrong.stderr) == (1, True)
