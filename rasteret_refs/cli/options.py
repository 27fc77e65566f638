"""Options that several commands share, and how their texts become values."""

import json
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
        When the file is no TOML, or has prefixes or options that nothing would use.
    """
    if path is None:
        return None
    from rasteret_refs.objects.stores import check_storage

    try:
        storage = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: expected TOML with one table a URL prefix, got: {error}") from error
    check_storage(storage, str(path))
    return storage


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


def parse_pairs(_: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str] | None:
    """`NAME=VALUE`, or as the parameter calls them; may be repeated."""
    pairs = {}
    form = (parameter.metavar or "NAME=VALUE").removesuffix("...")
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise click.BadParameter(f"expected {form}, got {text!r}")
        pairs[name] = value
    return pairs or None


def parse_executor(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """`threads`, `processes`, `dask` or `dask:ADDRESS`."""
    if text is not None and text not in {"threads", "processes", "dask"} and not text.startswith("dask:"):
        raise click.BadParameter(f"expected threads, processes, dask or dask:ADDRESS, got {text!r}")
    return text


def scanning_options[F: Callable[..., Any]](command: F) -> F:
    """Add what all commands that read headers take: `--on-error`, `--executor`, `--quiet`, `--storage` and `--json`."""
    options = (
        click.option("--on-error", type=click.Choice(["raise", "skip"]), default="raise", show_default=True),
        click.option(
            "--executor",
            callback=parse_executor,
            metavar="WHERE",
            help="Read headers by `threads`, `processes`, `dask` or `dask:ADDRESS`; the set is the same.",
        ),
        click.option("--quiet", is_flag=True, help="No progress bar."),
        storage_option,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def source_options[F: Callable[..., Any]](command: F) -> F:
    """Add the options that say which scenes and assets of a source are meant."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as `resolve` takes them."""
    given = {name: value for name, value in options.items() if value is not None and value != () and value is not False}
    for name in ("bands", "collections", "ids", "query"):
        if name in given:
            given[name] = list(given[name])
    if "intersects" in given:
        given["intersects"] = _geometry(given["intersects"])
    return given


def _geometry(path: Path) -> Any:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: expected GeoJSON, got: {error}") from error
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        features = document.get("features") or []
        if len(features) != 1:
            raise SourceError(f"{path}: expected one geometry or one feature, got {len(features)} features")
        document = features[0]
    return document.get("geometry", document) if isinstance(document, dict) else document


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SOURCE_OPTIONS = (
    click.option("--bbox", callback=parse_bbox, metavar="W,S,E,N", help="Only scenes that touch this box, in degrees."),
    click.option("--intersects", type=_FILE, metavar="FILE", help="Only scenes that touch this GeoJSON geometry."),
    click.option("--datetime", metavar="TIME", help="Only scenes of this time or interval, e.g. 2024-01/2024-06."),
    click.option(
        "--assets",
        multiple=True,
        callback=parse_assets,
        metavar="NAMES",
        help="Assets, e.g. red,nir or red=B04,nir=B08.",
    ),
    click.option("--bands", multiple=True, metavar="NAME", help="Assets that hold this band; may be repeated."),
    click.option("--query", multiple=True, metavar="CONDITION", help='STAC query, e.g. "eo:cloud_cover<20".'),
    click.option("--filter", metavar="TEXT", help="STAC: CQL2 text; tables: SQL as in WHERE."),
    click.option("--collections", multiple=True, metavar="ID", help="Collection of a STAC API; may be repeated."),
    click.option("--ids", multiple=True, metavar="ID", help="Item of a STAC API; may be repeated."),
    click.option("--limit", type=click.IntRange(min=1), help="Scenes at most."),
    click.option(
        "--columns",
        multiple=True,
        callback=parse_pairs,
        metavar="PART=COLUMN",
        help="Tables: which column holds what, e.g. href=url; may be repeated.",
    ),
    click.option(
        "--url-rewrite",
        multiple=True,
        callback=parse_pairs,
        metavar="OLD=NEW",
        help="Replace this beginning of hrefs; may be repeated.",
    ),
    click.option("--fetch-missing", is_flag=True, help="Rasteret collections: read headers whose record lacks facts."),
    click.option(
        "--assume",
        multiple=True,
        callback=parse_pairs,
        metavar="FACT=VALUE",
        help="Rasteret collections: take a fact for granted, e.g. byte_order=little.",
    ),
    click.option("--catalog", type=_FILE, metavar="FILE.toml", help="More datasets, beside the package's."),
)
