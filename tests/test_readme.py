"""README's Python blocks run as they stand, one after the other, on real files and a real server."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import rasteret_refs as rr
from tests.plain.scenes import write_scenes
from tests.servers.range_server import serve

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*fastparquet.*")
def test_every_python_block_gives_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local" / "scenes").mkdir(parents=True)
    (tmp_path / "served").mkdir()
    scenes = write_scenes(tmp_path / "local" / "scenes")
    monkeypatch.chdir(tmp_path / "local")
    names: dict[str, object] = {}
    seen = 0
    with serve(tmp_path / "served", process=True) as server:
        urls = [server.put(path.name, path.read_bytes()) for path in scenes.paths]
        rr.build(urls, tmp_path / "served" / "scenes.refs")
        for block in BLOCKS:
            names.pop("dataset", None)
            exec(compile(block.replace("https://data.example/", server.url), "README.md", "exec"), names)  # noqa: S102
            dataset = names.get("dataset")
            if isinstance(dataset, xr.Dataset):
                np.testing.assert_array_equal(dataset["image"].values, scenes.pixels)
                seen += 1
    assert seen == sum("dataset = " in block for block in BLOCKS) > 4


def test_the_two_commands_stand_in_the_makefile() -> None:
    makefile = README.with_name("Makefile").read_text()
    for command in re.findall(r"`?make ([a-z-]+)`?", README.read_text()):
        assert f"\n{command}:" in makefile, command


def test_relative_links_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert [link for link in links if not os.path.exists(README.parent / link)] == []  # noqa: PTH110
