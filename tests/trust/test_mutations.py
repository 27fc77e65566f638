"""Mutated TIFFs: errors of ours or pixels, within a second and 256 MiB, in processes that a crash would end."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.trust.examine import examine
from tests.trust.seeds import seeds

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("RASTERET_REFS_SEEDS", "12"))
MUTATIONS = int(os.environ.get("RASTERET_REFS_MUTATIONS", "40"))
"""`make fuzz` asks for 41 seeds × 500."""
A_WORKER = 10
"""Seeds that one process examines."""


def cases(numbers: list[int]) -> list[dict[str, Any]]:
    """Run a worker; what it printed before it ended, however it ended."""
    command = [sys.executable, "-m", "tests.trust.mutation_worker", str(MUTATIONS), *map(str, numbers)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120 + A_WORKER * MUTATIONS
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"a worker ended with {done.returncode} after {rows[-1:]}: {done.stderr[-500:]}"
    return rows


def test_mutated_tiffs_end_in_our_errors_or_the_right_pixels() -> None:
    count = min(SEEDS, len(seeds()))
    numbers = [round(k * (len(seeds()) - 1) / max(count - 1, 1)) for k in range(count)]
    rows = [row for start in range(0, count, A_WORKER) for row in cases(numbers[start : start + A_WORKER])]
    verdicts = Counter(str(row.get("verdict", "foreign")) for row in rows)
    slowest = max((row for row in rows if "seconds" in row), key=lambda row: row["seconds"])
    largest = max((row for row in rows if "mib" in row), key=lambda row: row["mib"])
    print(
        f"\n{len(rows)} mutations of {count} seeds: {dict(verdicts)}; slowest {slowest['seconds']:.2f} s "
        f"({slowest['seed']}), largest {largest['mib']:.0f} MiB ({largest['seed']})"
    )
    bad = [row for row in rows if "foreign" in row or row["verdict"] == "other pixels"]
    assert len(rows) == count * MUTATIONS
    assert not bad, f"{len(bad)} cases: {bad[:5]}"
    assert slowest["seconds"] <= 1.0
    assert largest["mib"] <= 256


def test_seeds_themselves_are_read_as_gdal_reads_them() -> None:
    from tests.trust.mutation_worker import verdict

    verdicts = Counter(verdict(examine(data), data, data) for _, data in seeds())
    assert verdicts["same"] > 0.6 * len(seeds())
    assert not verdicts["other pixels"], verdicts
    assert not verdicts["refused"]


@pytest.mark.parametrize("which", range(0, 200, 20))
def test_files_cut_anywhere_are_refused_or_referenced_inside(which: int) -> None:
    name, data = seeds()[which % len(seeds())]
    whole = examine(data, decode=False)
    header = min(len(data), 4096)
    points = [*range(header), *(header + (len(data) - header) * k // 200 for k in range(200))]
    for size in sorted(set(points)):
        found = examine(data[:size], decode=False)  # asserts that all references lie inside
        assert found.refused or found.images <= whole.images, name


def test_fuzzing_without_atheris_fails_and_says_so() -> None:
    """It printed a line and passed, as if it had fuzzed."""
    hidden = "import sys; sys.modules['atheris'] = None; from tests.trust.fuzz import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "NOT FUZZED" in done.stderr
