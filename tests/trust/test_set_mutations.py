"""Sets with one mutated file under a sound seal: errors of ours or values, within a second and 256 MiB."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.trust.set_cases import REPLACED, base_files, plain_form, use, with_file

ROOT = Path(__file__).resolve().parents[2]
CASES = int(os.environ.get("RASTERET_REFS_SET_CASES", "300"))
"""`make fuzz` asks for 5,000."""


@pytest.mark.parametrize("name", REPLACED)
def test_the_plain_forms_that_are_mutated_are_sound(name: str) -> None:
    assert use(with_file(name, plain_form(name))) == use(dict(base_files()))


def test_mutated_files_of_a_set_end_in_our_errors_or_values() -> None:
    command = [sys.executable, "-m", "tests.trust.set_worker", str(CASES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120 + CASES)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"the worker ended with {done.returncode} after {rows[-1:]}: {done.stderr[-500:]}"
    slowest, largest = max(rows, key=lambda row: row["seconds"]), max(rows, key=lambda row: row["mib"])
    print(
        f"\n{len(rows)} mutated sets: {dict(Counter(row['said'] for row in rows))}; slowest {slowest['seconds']:.2f} s "
        f"({slowest['case']}), largest {largest['mib']:.0f} MiB ({largest['case']})"
    )
    foreign = [row for row in rows if row["said"].startswith("foreign")]
    assert len(rows) == CASES
    assert not foreign, f"{len(foreign)} cases: {foreign[:5]}"
    assert slowest["seconds"] <= 1.0
    assert largest["mib"] <= 256
