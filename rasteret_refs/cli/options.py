"""Options that several commands share, and how their texts become values."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from rasteret_refs.errors import SourceError


def storage_option[F: Callable[..., Any]](command: F) -> F:
    """Add `--storage FILE.toml`."""
    return click.option(
        "--storage",
        "storage_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="TOML file whose tables are URL prefixes with their storage options.",
    )(command)


def json_option[F: Callable[..., Any]](command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def read_storage(path: Path | None) -> Mapping[str, Any] | None:
    """Read storage options by URL prefix.

    Raises
    ------
    SourceError
        When the file is no TOML.
    """
    if path is None:
        return None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: expected TOML with one table a URL prefix, got: {error}") from error


def parse_bbox(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`west,south,east,north` in degrees."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.replace(" ", ",").split(",") if part)
    except ValueError:
        numbers = ()
    if len(numbers) != 4:  # noqa: PLR2004 - two corners
        raise click.BadParameter(f"expected west,south,east,north in degrees, got {text!r}")
    return numbers


def parse_assets(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[str] | dict[str, str] | None:
    """`red,nir` or `red=B04,nir=B08`; may be repeated."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        return None
    if not any("=" in part for part in parts):
        return parts
    pairs = [part.partition("=") for part in parts]
    return {name: original or name for name, _equals, original in pairs}
