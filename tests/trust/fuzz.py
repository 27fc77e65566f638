"""Coverage-guided fuzzing (atheris) of the parser, the codecs and the reader of sets, bounded by processor time.

python -m tests.trust.fuzz parser codecs sets --minutes 20

Each target runs in a process of its own with the project's modules instrumented. A finding (a foreign exception, a
crash of a C library, more than the time or memory that a case may take) is kept as a file below the output directory;
what it showed becomes a test in `test_findings.py`.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CANNOT_FUZZ = 2
"""Exit code where nothing was fuzzed."""
SECONDS_A_CASE = 5
"""Of processor time: instrumented code runs several times slower than the real one, which may take one second."""
WALL_A_CASE = 600
"""Seconds after which a case hangs, also on a machine that does much else."""
MEMORY_A_CASE = 256 * 1024
"""KiB that the peak may grow by in one case."""
WARM_UP = 200
"""Cases before growth counts: imports and caches."""


class _Meter:
    """Memory and processor time that single cases take."""

    def __init__(self) -> None:
        self.cases, self.peak, self.spent = 0, 0, time.process_time()

    def check(self) -> None:
        """Raise when one case took longer, or made the peak grow more, than it may."""
        self.cases += 1
        before, self.spent = self.spent, time.process_time()
        if self.cases > WARM_UP and self.spent - before > SECONDS_A_CASE:
            raise AssertionError(f"a case took {self.spent - before:.1f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self.cases > WARM_UP and peak - self.peak > MEMORY_A_CASE:
            raise AssertionError(f"a case took {(peak - self.peak) // 1024} MiB")
        self.peak = max(self.peak, peak)


def parser_target() -> "tuple[object, list[bytes]]":
    """Give what is called with each input, and the seeds."""
    from tests.trust.examine import examine
    from tests.trust.seeds import seeds

    meter = _Meter()

    def one(data: bytes) -> None:
        examine(data, decode=False)
        meter.check()

    return one, [data for _, data in seeds()]


def codecs_target() -> "tuple[object, list[bytes]]":
    """Give what is called with each input: its first byte chooses a codec."""
    from tests.trust.chunks import chains, decode_both_ways

    known, meter = chains(), _Meter()

    def one(data: bytes) -> None:
        if data:
            decode_both_ways(known[data[0] % len(known)], data[1:])
            meter.check()

    return one, [bytes([number % 256]) + chain.encoded for number, chain in enumerate(known)]


def sets_target() -> "tuple[object, list[bytes]]":
    """Give what is called with each input: its first byte chooses a file of a set, the others take its place."""
    from tests.trust.set_cases import REPLACED, base_files, plain_form, use, with_file

    use(dict(base_files()))  # written and read once, with all imports, before time and memory count
    meter = _Meter()

    def one(data: bytes) -> None:
        if data:
            use(with_file(REPLACED[data[0] % len(REPLACED)], data[1:]))
            meter.check()

    seeds = []
    for number, name in enumerate(REPLACED):
        seeds += [bytes([number]) + data for data in {plain_form(name), base_files()[name]}]
    return one, seeds


TARGETS = {"parser": parser_target, "codecs": codecs_target, "sets": sets_target}


def _fuzz_here(name: str, directory: Path, seconds: int, seed: int) -> None:
    """Fuzz in this process until the time is over; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["rasteret_refs", "rasteret_refs_codecs", "numcodecs"]):
        one, seeds = TARGETS[name]()
    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number:03d}").write_bytes(data)
    options = [
        f"-max_total_time={seconds}", f"-timeout={WALL_A_CASE}", "-rss_limit_mb=2048", "-max_len=50000",
        f"-artifact_prefix={directory}/finding-", f"-seed={seed}", "-print_final_stats=1",
        f"-report_slow_units={WALL_A_CASE}",  # by the clock: what is slow is measured by `_Meter`
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def _campaign(name: str, directory: Path, minutes: float) -> int:
    """Run a target until it has used so much processor time; return the number of findings."""
    used, rounds = 0.0, 0
    log = directory / "log.txt"
    directory.mkdir(parents=True, exist_ok=True)
    while used < minutes * 60 and not list(directory.glob("finding-*")):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        left = max(10, int(min(minutes * 60 - used, 300)))
        command = [
            sys.executable,
            "-m",
            "tests.trust.fuzz",
            name,
            "--here",
            str(left),
            "--seed",
            str(rounds + 1),
            "--out",
            str(directory),
        ]
        with log.open("ab") as output:
            subprocess.run(command, stdout=output, stderr=output, check=False, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if spent < 1:
            raise RuntimeError(f"the fuzzer did not run: see {log}")
        used, rounds = used + spent, rounds + 1
    findings = sorted(directory.glob("finding-*"))
    text = log.read_text(errors="replace")
    executed = sum(int(line.rpartition(":")[2]) for line in text.splitlines() if "number_of_executed_units" in line)
    features = [part for line in text.splitlines() for part in [line] if " cov: " in part]
    print(f"{name}: {used / 60:.1f} CPU-minutes, {executed} executions, {len(findings)} findings")
    if features:
        print(f"  {features[-1].strip()}")
    for finding in findings:
        print(f"  {finding}")
    return len(findings)


def main() -> int:
    """Run campaigns one after the other; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor minutes for each target")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.targets = options.targets or list(TARGETS)
    if unknown := sorted(set(options.targets) - TARGETS.keys()):
        parser.error(f"expected targets of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    if options.here:
        _fuzz_here(options.targets[0], options.out, options.here, options.seed)
        return 0
    try:
        import atheris  # noqa: F401 - only whether it is there
    except ImportError as error:
        print(f"NOT FUZZED: atheris cannot be imported here ({error}); pip install atheris", file=sys.stderr)
        return CANNOT_FUZZ
    out = options.out or Path(tempfile.mkdtemp(prefix=f"fuzz-{time.strftime('%Y%m%d')}-"))
    with contextlib.suppress(OSError):
        os.nice(10)
    found = [
        _campaign(name, out / name, options.minutes) for name in options.targets
    ]  # all of them, whatever the first finds
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())
