"""The catalog of public datasets: what is where, under which licence, and how its numbers are meant."""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from rasteret_refs.errors import SourceError

type CommercialUse = bool | Literal["unknown"]
"""`"unknown"`: the licence was not read in full, or does not say."""

KINDS = frozenset({"stac-api", "stac-static", "table", "tiles", "none"})


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One entry. Facts that could not be verified are listed in `unverified`."""

    id: str
    """`PROVIDER/NAME`."""
    title: str
    description: str = ""
    kind: str = "stac-api"
    """`stac-api`, `stac-static`, `table`, `tiles`, or `none` where there is nothing to search."""
    endpoint: str | None = None
    """Landing page of the API, the catalog's document, the table, or a glob of tiles."""
    collection: str | None = None
    tile_degrees: float | None = None
    """For tiles named by their south-western corner: how wide and high they are."""
    assets: tuple[str, ...] = ()
    """Assets that are taken when none are named."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other name (band name, common name) → key of the asset."""
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For assets of several bands: their names in order."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """For tables: the column mapping."""
    storage: Mapping[str, Any] = field(default_factory=dict)
    """Options per URL prefix (region, anonymous access, signing), without secrets."""
    requester_pays: tuple[str, ...] = ()
    """Prefixes whose bytes the reader pays for."""
    url_rewrite: Mapping[str, str] = field(default_factory=dict)
    auth: str = "none"
    """`none`, `planetary-computer`, `earthdata`, `requester-pays`."""
    region: str = ""
    """Cloud region of the data."""
    coverage: str = ""
    temporal: tuple[str, str] | None = None
    """First and last year or date; `..` is open."""
    licence: str = "unknown"
    """SPDX identifier where there is one, else the licence's name."""
    licence_url: str | None = None
    commercial_use: CommercialUse = "unknown"
    attribution: str = ""
    radiometry: str | None = None
    """Rule of `sources.radiometry`."""
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)
    """Asset → values or bits that are clouds, cloud shadows or the like."""
    source_url: str | None = None
    """Where the facts were read."""
    checked: str = ""
    """Date of that reading."""
    verified: tuple[str, ...] = ()
    """Facts (names of fields) that a public source states."""
    unverified: tuple[str, ...] = ()
    """Facts that are from memory or common knowledge."""
    notes: str = ""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.commercial_use not in (True, False, "unknown"):
            raise SourceError(
                f"dataset {self.id}: commercial_use must be true, false or 'unknown', found {self.commercial_use!r}"
            )
        if self.kind not in KINDS:
            raise SourceError(f"dataset {self.id}: expected a kind of {', '.join(sorted(KINDS))}, found {self.kind!r}")
        if self.kind != "none" and not self.endpoint:
            raise SourceError(f"dataset {self.id}: expected an endpoint, found none")
        if self.kind == "stac-api" and not self.collection:
            raise SourceError(f"dataset {self.id}: expected a collection of its API, found none")
        if self.kind == "tiles" and not self.tile_degrees:
            raise SourceError(f"dataset {self.id}: expected tile_degrees of its tiles, found none")

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON values, for `--json`."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


class Catalog(Mapping[str, Dataset]):
    """Datasets by id, sorted.

    Parameters
    ----------
    datasets
        Entries; later ones replace earlier ones of the same id.
    """

    def __init__(self, datasets: Mapping[str, Dataset]) -> None:
        self._datasets = dict(sorted(datasets.items()))

    def __getitem__(self, name: str) -> Dataset:
        return self._datasets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def info(self, name: str) -> Dataset:
        """One entry.

        Raises
        ------
        SourceError
            Unknown; the message names similar ids.
        """
        if name in self._datasets:
            return self._datasets[name]
        similar = get_close_matches(name, self._datasets, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(similar)}?" if similar else ""
        raise SourceError(f"dataset {name!r} is not in the catalog{hint}")

    def search(self, text: str = "", *, commercial_use: CommercialUse | None = None) -> list[Dataset]:
        """Entries whose id, title, description, licence or collection hold all words of `text`.

        Parameters
        ----------
        text
            Words, in any order and case; none: all entries.
        commercial_use
            Only entries with exactly this flag: `unknown` is never taken for true.
        """
        words = text.lower().split()
        found = []
        for dataset in self._datasets.values():
            facts = (dataset.id, dataset.title, dataset.description, dataset.licence, dataset.collection or "")
            hay = " ".join(facts).lower()
            if all(word in hay for word in words) and commercial_use in (None, dataset.commercial_use):
                found.append(dataset)
        return found

    def match(self, endpoint: str, collection: str) -> Dataset | None:
        """The entry of an API's collection, if there is one."""
        wanted = endpoint.rstrip("/")
        for dataset in self._datasets.values():
            if dataset.collection == collection and (dataset.endpoint or "").rstrip("/") == wanted:
                return dataset
        return None

    def of_collection(self, collection: str | None) -> Dataset | None:
        """An entry of a STAC collection of this id, when all entries of the id mean the same numbers.

        Items that come as files do not say which API they are from; the same product has one id with most providers.
        """
        found = [dataset for dataset in self._datasets.values() if collection and dataset.collection == collection]
        if not found or any(other.radiometry != found[0].radiometry for other in found):
            return None
        return found[0]


TABLE_COLUMNS = ("id", "title", "auth", "licence", "commercial use")


def table_rows(datasets: list[Dataset]) -> list[tuple[str, ...]]:
    """Rows of text under `TABLE_COLUMNS`, for `datasets list` and `search`."""
    words = {True: "yes", False: "no", "unknown": "unknown"}
    return [(one.id, one.title, one.auth, one.licence, words[one.commercial_use]) for one in datasets]


def info_rows(dataset: Dataset) -> list[tuple[str, str, str]]:
    """(fact, value, how sure) of all facts an entry has, for `datasets info`."""
    rows = []
    for name, value in dataset.as_dict().items():
        if value in (None, "", [], {}) or name in {"verified", "unverified"}:
            continue
        sure = "verified" if name in dataset.verified else "unverified" if name in dataset.unverified else ""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append((name, text, sure))
    return rows


def user_file() -> Path:
    """The user's own catalog: `$XDG_CONFIG_HOME/rasteret-refs/datasets.toml` (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "rasteret-refs" / "datasets.toml"


_registered: dict[str, Dataset] = {}


def register(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[Dataset, ...]:
    """Add datasets for this process.

    Parameters
    ----------
    source
        Path or URL of a TOML (or JSON) file with `[[dataset]]` tables, or the values of one dataset, or of several
        under `dataset`.

    Raises
    ------
    SourceError
        Fields that an entry does not have, or values that it may not have.
    """
    datasets = _read(source)
    _registered.update(datasets)
    return tuple(datasets.values())


def load_catalog(extra: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Catalog:
    """The package's catalog, the user's file, what was registered, and `extra`; later ones win.

    Raises
    ------
    SourceError
        A file that is no catalog.
    """
    datasets = dict(_builtin())
    own = user_file()
    if own.is_file():
        datasets.update(_read(own))
    datasets.update(_registered)
    if extra is not None:
        datasets.update(_read(extra))
    return Catalog(datasets)


_cache: dict[str, Dataset] = {}


def _builtin() -> Mapping[str, Dataset]:
    if not _cache:
        text = files("rasteret_refs.sources").joinpath("datasets.toml").read_text(encoding="utf-8")
        _cache.update(_entries(tomllib.loads(text), "the package's catalog"))
    return _cache


def _read(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Dataset]:
    if isinstance(source, Mapping):
        return _entries(source, "the given values")
    from rasteret_refs.sources.documents import read_bytes

    location = os.fspath(source)
    content = read_bytes(location)
    try:
        text = content.decode("utf-8")
        values = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError) as error:
        raise SourceError(f"{location}: expected a catalog in TOML or JSON: {error}") from error
    return _entries(values, location)


def _entries(values: Mapping[str, Any], where: str) -> dict[str, Dataset]:
    tables = values.get("dataset", [values] if "id" in values else [])
    if isinstance(tables, Mapping):
        tables = [tables]
    if not isinstance(tables, list) or not tables:
        raise SourceError(f"{where}: expected [[dataset]] tables, found {', '.join(values) or 'nothing'}")
    found: dict[str, Dataset] = {}
    known = {one.name for one in fields(Dataset)}
    for table in tables:
        name = table.get("id") if isinstance(table, Mapping) else None
        if not isinstance(name, str) or not name:
            raise SourceError(f"{where}: expected each dataset to have an id, found {table!r}")
        unknown = sorted(set(table) - known)
        if unknown or "title" not in table:
            raise SourceError(
                f"{where}: dataset {name}: expected a title and fields of {', '.join(sorted(known))}; "
                f"found {', '.join(unknown) or 'no title'}"
            )
        found[name] = Dataset(**{key: _frozen(value) for key, value in table.items()})
    return found


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(member) for member in value)
    if isinstance(value, Mapping):
        return {key: _frozen(member) for key, member in value.items()}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(member) for member in value]
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return value
