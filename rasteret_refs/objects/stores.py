"""Locations and storage options → obstore stores: anonymous, requester pays, Planetary Computer, Earthdata."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from rasteret_refs.errors import AccessError, SourceError
from rasteret_refs.objects.location import Location, locate
from rasteret_refs.objects.runtime import obstore

_OWN_OPTIONS = frozenset(
    {
        "planetary-computer",
        "earthdata",
        "anonymous",
        "request_payer",
        "requester_pays",
        "user_project",
        "google_user_project",
        "sas_url",
        "subscription_key",
        "token",
        "timeout",
        "retries",
        "client_options",
    }
)
_SHORT_FORMS = frozenset({"planetary-computer", "earthdata", "anonymous"})
_ALIASES = {"region_name": "region", "endpoint_url": "endpoint"}
_AZURE_DOMAIN = ".blob.core.windows.net"
_CONNECT_TIMEOUT = timedelta(seconds=10)
_TIMEOUT = timedelta(seconds=60)


def options_for(url: str, storage: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the longest prefix in `storage` that `url` begins with, and its options; empty ones where none fits.

    Parameters
    ----------
    url
        A URL or absolute path.
    storage
        Prefix → options (a mapping), or a short form: `"planetary-computer"`, `"earthdata"`, `"anonymous"`.

    Raises
    ------
    SourceError
        For options of another form.
    """
    fitting = [prefix for prefix in storage if url.startswith(prefix) and _ends_segment(url, prefix)]
    if not fitting:
        return "", {}
    prefix = max(fitting, key=len)
    options = storage[prefix]
    if isinstance(options, str):
        options = {options: True}
        if not options.keys() <= _SHORT_FORMS:
            raise SourceError(
                f"storage options of {prefix!r}: expected a mapping or one of {sorted(_SHORT_FORMS)}, "
                f"got {storage[prefix]!r}"
            )
    if not isinstance(options, Mapping):
        raise SourceError(f"storage options of {prefix!r}: expected a mapping, got {type(options).__name__}")
    return prefix, options


def check_storage(storage: Mapping[str, Any], where: str) -> None:
    """Refuse options that nothing would ever use: misspelt ones would leave requests as if they were not there.

    Parameters
    ----------
    storage
        Prefix → options.
    where
        What holds them, for the message.

    Raises
    ------
    SourceError
        A prefix that no URL or absolute path begins with, or an option that its kind of storage does not know.
    """
    for prefix in storage:
        if "://" not in prefix and not prefix.startswith(("/", "file:")):
            raise SourceError(
                f"{where}: expected URL prefixes such as s3://bucket/, each with a table of options, got {prefix!r}"
            )
        url = f"{prefix}x" if prefix.endswith("/") else prefix
        location = locate(f"{url}x/x" if prefix.endswith("://") else url)
        options = options_for(url, {prefix: storage[prefix]})[1]
        unknown = [name for name in options if name not in _OWN_OPTIONS]
        if location.kind in {"s3", "gs", "azure"} or options.get("planetary-computer"):
            unknown = [name for name in unknown if not _is_known(location, _ALIASES.get(name, name))]
        if unknown:
            raise SourceError(
                f"{where}: {prefix}: expected options among {sorted(_OWN_OPTIONS)}, and for buckets those of obstore's "
                f"store, got {sorted(unknown)}"
            )


def _is_known(location: Location, name: str) -> bool:
    """Tell whether obstore's store of a kind of bucket knows an option."""
    stores = obstore().store
    kind = {"s3": stores.S3Store, "gs": stores.GCSStore}.get(location.kind, stores.AzureStore)
    try:
        kind("x", **{name: "true"})
    except obstore().exceptions.UnknownConfigurationKeyError:
        return False
    except (ValueError, TypeError, obstore().exceptions.BaseError):
        return True  # known, and only the value or its neighbours are not right
    return True


def _ends_segment(url: str, prefix: str) -> bool:
    """Tell whether a prefix ends where a part of the URL does: options of one host are not another's that begins so."""
    return not prefix or prefix[-1] == "/" or url[len(prefix) : len(prefix) + 1] in {"", "/", "?"}


def open_store(location: Location, options: Mapping[str, Any]) -> Any:
    """Return an obstore store for `location.root`.

    Retries are the caller's: obstore's own ignore `Retry-After` and cannot adapt the number of requests in flight.

    Raises
    ------
    SourceError
        For options that the store does not know.
    AccessError
        When credentials that the options ask for cannot be found.
    """
    stores = obstore().store
    common = {"client_options": _client_options(location, options), "retry_config": {"max_retries": 0}}
    config: dict[str, Any] = {_ALIASES.get(k, k): v for k, v in options.items() if k not in _OWN_OPTIONS}
    if options.get("anonymous"):
        config["skip_signature"] = True
    try:
        if location.kind == "local":
            return stores.LocalStore()
        if location.kind == "s3":
            if options.get("request_payer") or options.get("requester_pays"):
                config["request_payer"] = True
            return stores.S3Store(location.root, **config, **_earthdata_s3(options), **common)
        if location.kind == "gs":
            return stores.GCSStore(location.root, **config, **common)
        if location.kind == "azure" or options.get("planetary-computer"):
            return _azure_store(location, options, config, common)
        return stores.HTTPStore(location.root, **common)
    except (ValueError, TypeError, obstore().exceptions.BaseError) as error:
        first = str(error).split("\n", 1)[0]
        raise SourceError(f"storage options of {location.kind} {location.root}: {first}") from error


def headers_for(location: Location, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that options ask for, for requests that do not go through a store.

    Raises
    ------
    AccessError
        When credentials that the options ask for cannot be found.
    """
    return dict(_client_options(location, options).get("default_headers", {}))


def azure_container(location: Location) -> tuple[str, str, str]:
    """Split an https blob location into account, container and key.

    Raises
    ------
    SourceError
        When the host is no Azure blob host.
    """
    host = urlsplit(location.root).netloc
    container, _, key = location.key.partition("/")
    if not host.endswith(_AZURE_DOMAIN) or not container:
        raise SourceError(
            f"expected https://<account>{_AZURE_DOMAIN}/<container>/…, got {location.root}/{location.key}"
        )
    return host.removesuffix(_AZURE_DOMAIN), container, key


def _azure_store(
    location: Location, options: Mapping[str, Any], config: dict[str, Any], common: Mapping[str, Any]
) -> Any:
    stores = obstore().store
    if location.kind == "azure":
        container = location.root
        account = config.pop("account_name", None)
    else:
        account, container, _ = azure_container(location)
    if not options.get("planetary-computer"):
        if account is not None:
            config["account_name"] = account
        return stores.AzureStore(container, **config, **common)
    from obstore.auth.planetary_computer import PlanetaryComputerCredentialProvider

    # obstore caches the token and asks the provider again shortly before it expires.
    provider = PlanetaryComputerCredentialProvider(
        account_name=account,
        container_name=container,
        sas_url=options.get("sas_url"),
        subscription_key=options.get("subscription_key"),
    )
    return stores.AzureStore(credential_provider=provider, **config, **common)


def _earthdata_s3(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credential provider that NASA's in-region S3 access needs."""
    wanted = options.get("earthdata")
    if not wanted:
        return {}
    if not isinstance(wanted, str):
        raise AccessError(
            'Earthdata over s3:// needs the archive\'s credentials URL: {"earthdata": "https://…/s3credentials"}'
        )
    from obstore.auth.earthdata import NasaEarthdataCredentialProvider

    return {"credential_provider": NasaEarthdataCredentialProvider(wanted, auth=options.get("token"))}


def _client_options(location: Location, options: Mapping[str, Any]) -> dict[str, Any]:
    client: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": timedelta(seconds=float(options["timeout"])) if "timeout" in options else _TIMEOUT,
        "user_agent": "rasteret-refs",
        "pool_idle_timeout": timedelta(seconds=30),
    }
    endpoint = str(options.get("endpoint", options.get("endpoint_url", "")))
    if location.root.startswith("http://") or endpoint.startswith("http://"):
        client["allow_http"] = True
    if options.get("earthdata") and location.kind == "http":
        client["default_headers"] = {"authorization": f"Bearer {_earthdata_token(options)}"}
    project = options.get("user_project") or options.get("google_user_project")
    if project and location.kind == "gs":
        # https://cloud.google.com/storage/docs/using-requester-pays: who is billed stands in this header
        client["default_headers"] = {"x-goog-user-project": str(project)}
    client.update(options.get("client_options", {}))
    return client


def _earthdata_token(options: Mapping[str, Any]) -> str:
    token = options.get("token") or os.environ.get("EARTHDATA_TOKEN")
    if not token:
        raise AccessError(
            "Earthdata: expected a bearer token in storage option `token` or in the environment as EARTHDATA_TOKEN, "
            "got none (https://urs.earthdata.nasa.gov creates one)"
        )
    return str(token)
