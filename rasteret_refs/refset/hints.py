"""What of a stranger's storage hints is taken over: nothing that redirects requests, hands credentials out or pays."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_REGION: Final = re.compile(r"[a-z0-9-]{1,32}\Z")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}\Z")
_SWITCHES: Final = frozenset({"anonymous", "skip_signature"})
_AZURE: Final = ".blob.core.windows.net"
_EARTHDATA: Final = (".earthdata.nasa.gov", ".earthdatacloud.nasa.gov")


def safe_hints(hints: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the hints that only say how to read publicly what the set names anyway.

    Those are: anonymous access, a region, an Azure account's name, Planetary Computer's signing for Azure's blob hosts,
    Earthdata's token for NASA's own hosts. Endpoints, proxies, headers, requester pays and all else are the caller's.

    Parameters
    ----------
    hints
        Prefix → options, as `Seal.storage` has them.
    """
    kept: dict[str, Any] = {}
    for prefix, options in hints.items():
        given = {options: True} if isinstance(options, str) else options
        if not isinstance(given, Mapping):
            continue
        safe = {str(name): value for name, value in given.items() if _is_safe(prefix, str(name), value)}
        if safe:
            short = isinstance(options, str)
            kept[prefix] = options if short else safe
    return kept


def unsafe_hints(hints: Mapping[str, Any]) -> list[str]:
    """Name the hints that a stranger's set may not give, as `prefix: option`."""
    kept = safe_hints(hints)
    found = []
    for prefix, options in hints.items():
        names = [options] if isinstance(options, str) else list(options) if isinstance(options, Mapping) else ["?"]
        have = kept.get(prefix, {})
        found += [f"{prefix}: {name}" for name in names if name != have and name not in have]
    return found


def _is_safe(prefix: str, name: str, value: Any) -> bool:
    host = (urlsplit(prefix).hostname or "") if prefix.startswith("https://") else ""
    if name in _SWITCHES:
        return value is True or str(value).lower() == "true"
    if name in {"region", "region_name", "aws_region"}:
        return isinstance(value, str) and _REGION.match(value) is not None
    if name == "account_name":
        return isinstance(value, str) and _ACCOUNT.match(value) is not None
    if name == "planetary-computer":
        return value is True and (host.endswith(_AZURE) or prefix.startswith(("az://", "abfs://", "abfss://")))
    if name == "earthdata":
        return value is True and host.endswith(_EARTHDATA)
    return False
