"""These tests need torch and torchgeo: `make test-ml` runs them in `.venv-ml`; elsewhere they skip."""

import importlib.util

MISSING = [name for name in ("torch", "torchgeo") if importlib.util.find_spec(name) is None]
REASON = f"{' and '.join(MISSING)} not installed here: `make test-ml` runs these tests"

if MISSING:
    collect_ignore_glob = ["test_[!s]*.py"]
