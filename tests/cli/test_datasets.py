"""`datasets`: licences and the flag of commercial use for people and programs; unknown is never taken for allowed."""

import json

import pytest

from rasteret_refs.sources.catalog import load_catalog
from tests.cli.test_commands import invoke


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_list_shows_licence_and_flag_of_every_dataset():
    text = invoke("datasets", "list")
    assert text.exit_code == 0
    for words in ("maxar/open-data", "CC-BY-NC-4.0", "licence", "commercial use"):
        assert words in text.stdout
    found = json.loads(invoke("datasets", "list", "--json").stdout)
    assert [one["id"] for one in found] == list(load_catalog())
    assert {one["commercial_use"] for one in found} <= {True, False, "unknown"}
    assert all(one["licence"] for one in found)


@pytest.mark.parametrize(("flag", "value"), [("yes", True), ("no", False), ("unknown", "unknown")])
def test_a_search_by_flag_gives_exactly_those(flag, value):
    found = json.loads(invoke("datasets", "search", "--commercial-use", flag, "--json").stdout)
    assert found
    assert all(one["commercial_use"] is value or one["commercial_use"] == value for one in found)


def test_a_search_by_words_needs_all_of_them():
    ids = [one["id"] for one in json.loads(invoke("datasets", "search", "sentinel-2", "earthsearch", "--json").stdout)]
    assert "earthsearch/sentinel-2-l2a" in ids
    assert not any(name.startswith("pc/") for name in ids)
    assert json.loads(invoke("datasets", "search", "no such words", "--json").stdout) == []


def test_info_tells_which_facts_are_verified():
    text = invoke("datasets", "info", "maxar/open-data")
    assert text.exit_code == 0
    assert "verified" in text.stdout
    facts = json.loads(invoke("datasets", "info", "maxar/open-data", "--json").stdout)
    assert facts["commercial_use"] is False


def test_an_unknown_dataset_is_named_with_similar_ones():
    result = invoke("datasets", "info", "earthsearch/sentinel-2")
    assert result.exit_code == 1
    assert "earthsearch/sentinel-2-l2a" in result.stderr


def test_a_catalog_of_ones_own_is_listed_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[[dataset]]\nid = "me/dem"\ntitle = "Mine"\nkind = "none"\nlicence = "secret"\n')
    found = json.loads(invoke("datasets", "list", "--catalog", file, "--json").stdout)
    (mine,) = [one for one in found if one["id"] == "me/dem"]
    assert mine["commercial_use"] == "unknown"
    file.write_text("[[dataset]]\nname = 1\n")
    assert "mine.toml" in invoke("datasets", "list", "--catalog", file).stderr
