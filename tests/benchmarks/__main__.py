"""Runs the benchmarks one after the other, each in a process of its own: `python -m tests.benchmarks [NAME...]`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """Scripts that can be run by themselves: `bench_<name>.py` with a main part."""
    scripts = sorted(path for path in HERE.glob("bench_*.py") if "__main__" in path.read_text())
    return [path.stem.removeprefix("bench_") for path in scripts]


def main(wanted: list[str]) -> int:
    """Run them; the exit code is that of the worst."""
    unknown = set(wanted) - set(names())
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    worst = 0
    for name in wanted or names():
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.bench_{name}"]
        worst = max(worst, subprocess.run(command, cwd=HERE.parents[1], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
