"""These tests need torch and torchgeo: `make test-ml` runs them in `.venv-ml`; elsewhere they skip."""

import importlib.util

import pytest

MISSING = [name for name in ("torch", "torchgeo") if importlib.util.find_spec(name) is None]
REASON = f"{' and '.join(MISSING)} not installed here: `make test-ml` runs these tests"

if MISSING:
    collect_ignore_glob = ["test_[!s]*.py"]


@pytest.fixture(autouse=True)
def _quiet(recwarn):
    """Warnings of torch's and TorchGeo's own are no errors here; ours are caught by the tests of the core."""
