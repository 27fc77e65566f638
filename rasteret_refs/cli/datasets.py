"""`datasets list|info|search`: the catalog of public datasets, with licence and the flag of commercial use."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rasteret_refs.cli.options import json_option
from rasteret_refs.cli.output import print_json, print_table, reports_errors

if TYPE_CHECKING:
    from rasteret_refs.sources.catalog import CommercialUse, Dataset

_FLAGS: dict[str, "CommercialUse"] = {"yes": True, "no": False, "unknown": "unknown"}


def _catalog_option[F: Callable[..., Any]](command: F) -> F:
    return click.option("--catalog", metavar="FILE", help="More datasets: path or URL of a TOML or JSON file.")(command)


@click.group("datasets")
def command() -> None:
    """Public datasets that can be named as a SOURCE, with licences."""


@command.command("list")
@_catalog_option
@json_option
@reports_errors
def list_datasets(*, catalog: str | None, as_json: bool) -> None:
    """List all datasets."""
    from rasteret_refs.sources.catalog import load_catalog

    _show("Datasets", list(load_catalog(catalog).values()), as_json=as_json)


@command.command("search")
@click.argument("words", nargs=-1)
@click.option("--commercial-use", type=click.Choice(list(_FLAGS)), help="Only datasets with exactly this flag.")
@_catalog_option
@json_option
@reports_errors
def search_datasets(words: tuple[str, ...], *, commercial_use: str | None, catalog: str | None, as_json: bool) -> None:
    """List the datasets whose id, title, description, licence or collection hold all WORDS."""
    from rasteret_refs.sources.catalog import load_catalog

    flag = None if commercial_use is None else _FLAGS[commercial_use]
    found = load_catalog(catalog).search(" ".join(words), commercial_use=flag)
    _show(f"Datasets with {' '.join(words)!r}" if words else "Datasets", found, as_json=as_json)


@command.command("info")
@click.argument("name", metavar="ID")
@_catalog_option
@json_option
@reports_errors
def dataset_info(name: str, *, catalog: str | None, as_json: bool) -> None:
    """Tell all facts of dataset ID, and which of them are verified."""
    from rasteret_refs.sources.catalog import info_rows, load_catalog

    dataset = load_catalog(catalog).info(name)
    if as_json:
        print_json(dataset.as_dict())
    else:
        print_table(dataset.title, ("fact", "value", "sure"), info_rows(dataset))


def _show(title: str, datasets: "list[Dataset]", *, as_json: bool) -> None:
    from rasteret_refs.sources.catalog import TABLE_COLUMNS, table_rows

    if as_json:
        print_json([dataset.as_dict() for dataset in datasets])
    else:
        print_table(title, TABLE_COLUMNS, table_rows(datasets))
