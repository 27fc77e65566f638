"""Tells kinds of sources apart and binds each to the module that reads it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rasteret_refs.build.scene import Scene
from rasteret_refs.errors import NotFoundError, RasteretRefsError, SourceError
from rasteret_refs.objects.location import locate
from rasteret_refs.sources.files import expand, file_scenes, glob_pattern, read_list
from rasteret_refs.sources.hrefs import absolute, is_url, scheme, unsigned
from rasteret_refs.sources.options import Options
from rasteret_refs.sources.values import Refusals, Source

_JSON_ENDINGS = (".json", ".geojson", ".ndjson", ".jsonl")
_TABLE_ENDINGS = (".parquet", ".geoparquet", ".pq", ".csv", ".csv.gz", ".arrow", ".ipc", ".feather")
# Words in the path of a URL without an ending that make it a STAC API's rather than an image's.
_API_WORDS = frozenset({"stac", "collections", "search", "items", "v0", "v1"})
_BUCKETS = frozenset({"s3", "gs", "az", "abfs", "abfss", "adl"})
_CATALOG_NAMES = ("catalog.json", "collection.json")


class Dispatcher:
    """Makes a `Source` of whatever a user names.

    Parameters
    ----------
    options
        Everything else that the user said.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def source(self, value: Any) -> Source:
        """Understand `value`; see `resolve.resolve` for what it may be.

        Raises
        ------
        SourceError, NotFoundError, AccessError, QueryError
            As `resolve.resolve`.
        """
        if isinstance(value, str | os.PathLike):
            if not os.fspath(value).strip():
                raise SourceError("expected a source of scenes (a path, a URL or a catalog id), got an empty text")
            return self._named(os.fspath(value))
        if isinstance(value, Scene):
            return self._scenes([value])
        if isinstance(value, Mapping) or hasattr(value, "stac_extensions") or hasattr(value, "items_as_dicts"):
            return self._in_memory(value)
        if type(value).__name__ == "ItemCollection" and hasattr(value, "to_dict"):  # pystac's has no common base
            return self._in_memory(value)
        if isinstance(value, list | tuple) or (isinstance(value, Iterable) and not _is_table(value)):
            return self._list(list(value))
        if _is_table(value):
            return self._table(value)
        raise SourceError(
            "expected a path, a URL, STAC items, a table, a catalog id or a list of these, "
            f"found {type(value).__name__}"
        )

    def _named(self, text: str) -> Source:
        text = text if is_url(text) else os.path.expanduser(text)  # noqa: PTH111 - a glob or a catalog id, maybe
        path = urlsplit(text).path if is_url(text) else text
        lower = path.lower()
        if not is_url(text) and not os.path.lexists(text):
            from rasteret_refs.sources.catalog import load_catalog

            catalog = load_catalog(self._options.catalog)
            if text in catalog:
                return self._dataset(text, catalog)
            provider = text.split("/", 1)[0] + "/"
            if text.count("/") == 1 and any(name.startswith(provider) for name in catalog) and "." not in text:
                catalog.info(text)  # raises, with similar ids
        if lower.endswith(".txt"):
            return self._files(lambda: self._listed(text))
        if lower.endswith(_JSON_ENDINGS):
            return self._stac_document(text)
        if lower.endswith(_TABLE_ENDINGS) and not (not is_url(text) and Path(text).is_dir()):
            return self._table(text)
        if is_url(text):
            return self._url(text, path)
        local = Path(text).expanduser()
        if local.is_dir():
            return self._directory(local)
        return self._files(lambda: expand(text))

    def _url(self, text: str, path: str) -> Source:
        if not urlsplit(text).netloc and not text.startswith("file:"):
            locate(text)  # raises: no host or bucket
        words = [word for word in path.lower().split("/") if word]
        last = words[-1] if words else ""
        if scheme(text) in {"http", "https"}:
            is_api = "." not in last and (self._options.searches or _API_WORDS & set(words) or not words)
            return self._stac_document(text) if is_api else self._files(lambda: expand(text))
        if "*" in text:
            return self._files(lambda: self._remote_glob(text))
        if scheme(text) in _BUCKETS and (text.endswith("/") or "." not in last):
            return self._table(text.rstrip("/"))
        return self._files(lambda: expand(text))

    def _directory(self, local: Path) -> Source:
        for name in _CATALOG_NAMES:
            if (local / name).is_file():
                return self._stac_document(str(local / name))
        if (local / "refs.json").is_file():
            raise SourceError(f"{local}: expected a source of scenes, found a reference set; open it with rr.open")
        if next(local.rglob("*.parquet"), None) is not None:
            return self._table(str(local.absolute()))
        return self._files(lambda: expand(str(local)))  # raises, and says what to give instead

    # Plain files ------------------------------------------------------------------------------------------------------

    def _files(self, list_urls: Any) -> Source:
        options = self._options
        if options.searches or options.bands is not None or options.columns is not None:
            raise SourceError(
                "plain files have no footprints, times or names to select by: bbox, intersects, datetime, query, "
                "filter, collections, ids, bands and columns need STAC items or a table"
            )
        name = "image"
        if options.assets is not None:
            names = list(options.assets)
            if len(names) != 1:
                raise SourceError(
                    f"plain files have one asset each: expected one name for it, found {', '.join(names)}"
                )
            name = names[0]
        urls = [self._rewritten(url) for url in list_urls()]

        def produce(refusals: Refusals) -> Iterator[Scene]:
            for scene in file_scenes(urls, refusals, asset=name):
                try:
                    options.consent.check(scene.assets[0].href)
                except RasteretRefsError as error:
                    refusals.refuse(error, scene=scene.id, url=scene.assets[0].href)
                    continue
                yield scene

        return Source(produce=produce, kind="files", axis="scene", total=len(set(urls)))

    def _rewritten(self, url: str) -> str:
        from rasteret_refs.sources.hrefs import rewritten

        return rewritten(url, self._options.url_rewrite)

    def _listed(self, text: str) -> list[str]:
        from rasteret_refs.sources.documents import read_bytes

        location = text if is_url(text) else expand(text)[0]
        try:
            return read_list(read_bytes(location, self._options.storage).decode("utf-8"), location)
        except UnicodeDecodeError as error:
            raise SourceError(f"{location}: expected a list of paths and URLs in UTF-8: {error}") from error

    def _remote_glob(self, text: str, storage: Mapping[str, Any] | None = None) -> list[str]:
        from rasteret_refs.sources.fetching import list_objects
        from rasteret_refs.sources.storage import merged

        self._options.consent.check(text)
        folder = text[: text.index("*")].rpartition("/")[0] + "/"
        if folder.count("/") < 3:  # noqa: PLR2004 - scheme://bucket/
            raise SourceError(f"{text}: expected a bucket without signs of a glob")
        pattern = glob_pattern(text[len(folder) :])
        keys = sorted(
            key for key, _ in list_objects(folder, merged(storage or {}, self._options.storage)) if pattern.match(key)
        )
        if not keys:
            raise NotFoundError(f"{text}: no object matches this glob")
        return [folder + key for key in keys]

    # Lists and values in memory -------------------------------------------------------------------------------------

    def _list(self, members: list[Any]) -> Source:
        if not members:
            raise SourceError("expected at least one source, found an empty list")
        if all(isinstance(member, Scene) for member in members):
            return self._scenes(members)
        if all(isinstance(member, Mapping) or hasattr(member, "stac_extensions") for member in members):
            return self._in_memory(members)
        plain = [member for member in members if isinstance(member, str | os.PathLike) and _is_plain(os.fspath(member))]
        if len(plain) == len(members):
            # Ids are made unique over the whole list.
            return self._files(lambda: [url for member in plain for url in self._plain(os.fspath(member))])
        parts = [self.source(member) for member in members]
        axes = {part.axis for part in parts}
        if len(axes) > 1:
            raise SourceError(
                "expected sources that all come with times or all without (plain files), found both in one list"
            )
        totals = [part.total for part in parts]

        def produce(refusals: Refusals) -> Iterator[Scene]:
            for part in parts:
                yield from part.produce(refusals)

        return Source(
            produce=produce,
            kind="several",
            axis=parts[0].axis,
            total=None if None in totals else sum(total or 0 for total in totals),
            dataset=parts[0].dataset if all(part.dataset is parts[0].dataset for part in parts) else None,
            storage={prefix: hint for part in parts for prefix, hint in part.storage.items()},
        )

    def _plain(self, text: str) -> list[str]:
        if text.lower().endswith(".txt"):
            return self._listed(text)
        return self._remote_glob(text) if is_url(text) and "*" in text and scheme(text) in _BUCKETS else expand(text)

    def _scenes(self, scenes: list[Scene]) -> Source:
        timed = all(scene.datetime is not None or scene.start_datetime is not None for scene in scenes)

        def produce(_: Refusals) -> Iterator[Scene]:
            yield from scenes

        return Source(produce=produce, kind="scenes", axis="time" if timed else "scene", total=len(scenes))

    def _in_memory(self, value: Any) -> Source:
        from rasteret_refs.sources.stac_static import as_json, items_in

        if isinstance(value, Mapping) and value.get("type") not in {"Feature", "FeatureCollection"}:
            found = ", ".join(str(key) for key in value) or "nothing"
            raise SourceError(f"expected a STAC Item or ItemCollection as JSON value, found an object with {found}")
        items = items_in(as_json(value))

        def produce(refusals: Refusals) -> Iterator[Scene]:
            return self._from_items(((item, None) for item in items), refusals)

        return Source(produce=produce, kind="stac", axis="time", total=None if self._options.searches else len(items))

    # STAC -----------------------------------------------------------------------------------------------------------

    def _from_items(
        self,
        items: Iterable[tuple[Any, str | None]],
        refusals: Refusals,
        dataset: Any = None,
        *,
        searched: bool = False,
    ) -> Iterator[Scene]:
        options = self._options
        choice = options.choice(dataset.aliases if dataset is not None else None)
        reader = options.reader(choice, dataset)
        tests = [] if searched else options.wanted.tests()
        for item, location in items:
            name = item.get("id") if isinstance(item, Mapping) else None
            try:
                if not isinstance(item, Mapping):
                    raise SourceError(f"expected a STAC Item, found {type(item).__name__}")
                if not searched and options.ids is not None and name not in options.ids:
                    continue
                if not searched and options.collections and item.get("collection") not in options.collections:
                    continue
                if all(test(item) for test in tests):
                    yield reader.scene(item, location)
            except RasteretRefsError as error:
                refusals.refuse(error, scene=name if isinstance(name, str) else None, url=location)
        choice.finish()

    def _stac_document(self, text: str, dataset: Any = None) -> Source:
        location = unsigned(absolute(text, str(Path.cwd() / "x")))[0]
        loaded: dict[str, Any] = {}

        def document() -> Any:
            # Read once, and not before it is needed: resolving asks nothing of the network.
            if not loaded:
                from rasteret_refs.sources.documents import read_json

                loaded["value"] = read_json(location, self._options.storage)
            return loaded["value"]

        if not is_url(location):
            document()
        elif dataset is None:
            dataset = self._known_dataset(location)

        def produce(refusals: Refusals) -> Iterator[Scene]:
            from rasteret_refs.sources.stac_static import items_in, kind_of, walk

            value = document()
            kind = kind_of(value)
            if kind == "items":
                return self._from_items(((item, location) for item in items_in(value)), refusals, dataset)
            if kind in {"catalog", "collection"}:
                items = walk(value, location, self._options.wanted, refusals, self._options.storage)
                return self._from_items(items, refusals, dataset)
            if kind in {"api", "api-collection"}:
                return self._api(value, location, refusals, dataset)
            raise SourceError(
                f"{location}: expected a STAC Item, ItemCollection, Catalog, Collection or API, found {_what(value)}"
            )

        storage = dataset.storage if dataset is not None else {}
        return Source(produce=produce, kind="stac", axis="time", dataset=dataset, storage=storage)

    def _known_dataset(self, location: str) -> Any:
        """The catalog entry of an API's collection, as far as the URL and `collections` tell."""
        from rasteret_refs.sources.catalog import load_catalog

        endpoint, _, collection = location.rstrip("/").partition("/collections/")
        names = list(self._options.collections or ([collection] if collection else ()))
        return load_catalog(self._options.catalog).match(endpoint, names[0]) if len(names) == 1 else None

    def _api(self, document: Mapping[str, Any], location: str, refusals: Refusals, dataset: Any) -> Iterator[Scene]:
        endpoint, collections = location, list(self._options.collections or ())
        links = {link.get("rel"): link.get("href") for link in document.get("links") or () if isinstance(link, Mapping)}
        if document.get("type") == "Collection" or "extent" in document:
            root = links.get("root")
            if not isinstance(root, str):
                raise SourceError(f"{location}: expected a Collection with a link to its API (rel `root`)")
            endpoint, collections = absolute(root, location), [str(document["id"])]
        return self._search(endpoint, collections, refusals, dataset)

    def _search(self, endpoint: str, collections: list[str], refusals: Refusals, dataset: Any) -> Iterator[Scene]:
        from rasteret_refs.sources.stac_api import search

        options = self._options
        items = search(endpoint, options.wanted, collections=collections, ids=options.ids, limit=options.limit)
        return self._from_items(((item, None) for item in items), refusals, dataset, searched=True)

    # The catalog ----------------------------------------------------------------------------------------------------

    def _dataset(self, name: str, catalog: Any) -> Source:
        dataset = catalog.info(name)
        if dataset.kind == "none":
            raise SourceError(f"dataset {name}: there is nothing to search: {dataset.notes or dataset.description}")
        from rasteret_refs.sources.storage import Consent

        consent = Consent(self._options.storage, dataset.requester_pays)
        for prefix in dataset.requester_pays:
            consent.check(prefix)  # before the search: items whose bytes may not be read are no use
        if dataset.kind == "stac-static":
            part = self._stac_document(dataset.endpoint, dataset)
            produce, kind = part.produce, "stac"
        elif dataset.kind == "table":
            part = self._table(dataset.endpoint, dataset)
            produce, kind = part.produce, part.kind
        elif dataset.kind == "tiles":
            from rasteret_refs.sources.tiles import tile_scenes

            def produce(refusals: Refusals) -> Iterable[Scene]:
                urls = self._remote_glob(dataset.endpoint, dataset.storage)
                return tile_scenes(urls, dataset, self._options.wanted, refusals)

            kind = "tiles"
        else:

            def produce(refusals: Refusals) -> Iterable[Scene]:
                return self._search(dataset.endpoint, [dataset.collection], refusals, dataset)

            kind = "stac-api"
        return Source(produce=produce, kind=kind, axis="time", dataset=dataset, storage=dataset.storage)

    # Tables ---------------------------------------------------------------------------------------------------------

    def _table(self, value: Any, dataset: Any = None) -> Source:
        from rasteret_refs.sources.table_source import table_source

        if isinstance(value, str) and not is_url(value):
            value = os.path.normpath(Path.cwd() / Path(value).expanduser())
        return table_source(value, self._options, dataset)


def _is_table(value: Any) -> bool:
    # Told by what its class offers, so that nothing heavy is imported for a list of names.
    offers = ("__arrow_c_stream__", "fetch_arrow_table", "iterrows", "lazy", "scanner")
    return any(hasattr(value, name) for name in offers)


def _is_plain(text: str) -> bool:
    path = (urlsplit(text).path if is_url(text) else text).lower()
    if path.endswith((*_JSON_ENDINGS, *_TABLE_ENDINGS)):
        return False
    if not is_url(text):
        return not Path(text).expanduser().is_dir() and not _is_dataset(text)
    words = {word for word in path.split("/") if word}
    return "." in path.rpartition("/")[2] or not words & _API_WORDS


def _is_dataset(text: str) -> bool:
    if os.path.lexists(text) or text.count("/") != 1:
        return False
    from rasteret_refs.sources.catalog import load_catalog

    return text in load_catalog()


def _what(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(list(value)[:8])}"
    return f"{type(value).__name__}"
