"""The shape of the house: layers, purposes in one line, typed packages, cheap imports, nothing shadowed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT / "rasteret_refs", ROOT / "codecs" / "rasteret_refs_codecs")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_imports_run_downwards_through_the_layers() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [path for path in MODULES if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()]
    elsewhere = [path for path in MODULES if path not in silent and not path.read_text().startswith(('"""', 'r"""'))]
    assert names(silent + elsewhere) == []


def test_every_test_file_says_what_it_shows() -> None:
    files = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path.read_text()]
    assert names([path for path in files if not path.read_text().startswith(('"""', 'r"""'))]) == []


def test_no_module_is_two_things() -> None:
    assert [
        name for name, path in zip(names(MODULES), MODULES, strict=True) if len(path.read_text().splitlines()) > 450
    ] == []


def test_no_function_is_two_things() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of_code(node) > 50
    ]
    assert long == []


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    first = function.body[min(ast.get_docstring(function) is not None, len(function.body) - 1)]
    return (function.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_packages_tell_type_checkers_that_they_are_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()


def test_the_standard_library_s_codecs_module_is_not_shadowed() -> None:
    assert not (ROOT / "codecs" / "__init__.py").exists()


def test_the_lock_file_holds_names_and_versions_only() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.count("==") != 1 or "/" in line or "@" in line or " " in line] == []


def test_the_lock_file_holds_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["test"],
        *project["dependency-groups"]["lint"],
    ]
    locked = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "requirements.lock").read_text().splitlines()
    }
    bare = {entry.split(">")[0].split("[")[0].strip() for entry in wanted}
    assert bare - locked == set()


@pytest.mark.alone
def test_importing_the_library_is_cheap_and_brings_no_heavy_one() -> None:
    program = (
        "import time; start = time.perf_counter(); import rasteret_refs; spent = time.perf_counter() - start\n"
        "import sys; print(spent, *sorted({'xarray', 'pandas', 'torch', 'zarr', 'dask'} & set(sys.modules)))"
    )
    spent = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        seconds, *heavy = done.stdout.split()
        spent.append(float(seconds))
        assert heavy == []
    assert min(spent) <= 0.2
