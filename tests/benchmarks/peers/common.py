"""What peers share: batches of windows, and the tiles that a window touches."""

from collections.abc import Iterator
from typing import Any


def batches(job: dict[str, Any]) -> Iterator[list[tuple[int, int, int, int, int]]]:
    """Cut the windows into batches."""
    step = job["batch"] or len(job["windows"])
    for start in range(0, len(job["windows"]), step):
        yield job["windows"][start : start + step]


def address(job: dict[str, Any], number: int) -> str:
    """Give the path or URL of a scene."""
    return job["base"] + job["files"][number]
