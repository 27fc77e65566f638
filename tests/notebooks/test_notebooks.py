"""The notebooks run from top to bottom, and are saved with output that shows pictures and no machine's paths."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|Users|private|var|work|mnt|opt)/")


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks_and_they_are_numbered() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, len(NOTEBOOKS) + 1)] != []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_fresh_folder(path: Path, tmp_path: Path) -> None:
    if "import torch" in path.read_text() and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here: `make test-ml` runs this notebook")
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "jupyter", "execute", "--timeout=120", "--output=executed", path.name]
    environment = os.environ | {
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(cell["execution_count"] for cell in code_cells(tmp_path / "executed.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_with_its_output(path: Path) -> None:
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_tells_no_machine_s_paths(path: Path) -> None:
    texts = []
    for cell in code_cells(path):
        for output in cell["outputs"]:
            texts += output.get("text", [])
            for kind, data in output.get("data", {}).items():
                texts += data if kind.startswith("text/") else []
    assert [text for text in texts if MACHINE_PATH.search(text)] == []
