"""Storage options per URL prefix: which hints may be recorded, and whether the user agreed to pay."""

from collections.abc import Iterable, Mapping
from typing import Any

from rasteret_refs.errors import AccessError
from rasteret_refs.sources.hrefs import is_secret

REQUESTER_PAYS = (
    "s3://usgs-landsat/",
    "s3://naip-analytic/",
    "s3://naip-source/",
    "s3://naip-visualization/",
    "s3://sentinel-s2-l1c/",
    "s3://sentinel-s2-l2a/",
    "s3://sentinel-s1-l1c/",
    "gs://alphaearth_foundations/",
)
"""Buckets whose owners let the reader pay: reading them without consent only gives a 403."""
# obstore writes `request_payer`; s3fs and rasterio users know these others.
_CONSENT_KEYS = ("request_payer", "aws_request_payer", "requester_pays", "user_project", "google_user_project")
_SECRET_WORDS = ("secret", "password", "token", "credential", "sas", "access_key", "account_key", "service_account_key")


class Consent:
    """Knows what the user agreed to pay for.

    Parameters
    ----------
    storage
        The user's options per prefix.
    paid
        Further prefixes whose bytes the reader pays for (the catalog's).
    """

    def __init__(self, storage: Mapping[str, Any] | None = None, paid: Iterable[str] = ()) -> None:
        self._storage = dict(storage or {})
        self._paid = (*REQUESTER_PAYS, *paid)

    def check(self, url: str, *, paid: bool = False) -> None:
        """Refuse a URL that costs, without a request.

        Parameters
        ----------
        url
            Of an object, or a prefix.
        paid
            The item says that the reader pays.

        Raises
        ------
        AccessError
            The prefix is known to be requester pays and no option says that the user agrees.
        """
        prefix = next((prefix for prefix in self._paid if url.startswith(prefix)), None)
        if prefix is None:
            # Over https a bucket gives its public objects only, whatever the item says of the bucket.
            if not paid or not url.startswith(("s3://", "gs://")):
                return
            prefix = "/".join(url.split("/")[:3]) + "/"
        options = longest_prefix(self._storage, url)
        if isinstance(options, Mapping) and any(options.get(key) for key in _CONSENT_KEYS):
            return
        agree = '{"user_project": "YOUR-PROJECT"}' if prefix.startswith("gs://") else '{"request_payer": true}'
        raise AccessError(
            f"{prefix}: the reader pays for requests and traffic there, and nothing was requested; "
            f'to agree, give storage={{"{prefix}": {agree}}} and credentials of an account'
        )


def longest_prefix(storage: Mapping[str, Any], url: str) -> Any:
    """Options of the longest prefix of `url`, or None."""
    matching = [prefix for prefix in storage if url.startswith(prefix)]
    return storage[max(matching, key=len)] if matching else None


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Options of two sources; where both have a prefix, `above` counts option by option."""
    result = dict(below)
    for prefix, options in above.items():
        lower = result.get(prefix)
        if isinstance(lower, Mapping) and isinstance(options, Mapping):
            result[prefix] = {**lower, **options}
        else:
            result[prefix] = options
    return result


def public_storage(storage: Mapping[str, Any]) -> dict[str, Any]:
    """Options without anything secret, fit to be recorded in a reference set.

    Options of options (`client_options`, whose headers may be credentials of any name) are the user's alone.
    """

    def keep(key: str, value: Any) -> bool:
        lower = key.lower()
        plain = isinstance(value, str | bool | int | float)
        return plain and not is_secret(key) and not any(word in lower for word in _SECRET_WORDS)

    return {
        prefix: {key: value for key, value in options.items() if keep(key, value)}
        if isinstance(options, Mapping)
        else options
        for prefix, options in storage.items()
        if isinstance(options, Mapping | str | bool | int)
    }
