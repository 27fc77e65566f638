"""Refusal of secrets in what gets written: reference sets hold unsigned, stable URLs only."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from rasteret_refs.errors import RefsetError

SECRET_PARAMETERS: Final = frozenset({
    "sig", "signature", "token", "access_token", "accesstoken", "auth", "authorization", "auth_token", "id_token",
    "refresh_token", "sessiontoken", "session_token", "api_key", "apikey", "api-key", "key", "subscription-key",
    "password", "passwd", "pwd", "secret", "client_secret", "awsaccesskeyid", "googleaccessid", "key-pair-id", "policy",
    "hdnea", "hdnts", "jwt",
})  # fmt: skip
"""Query parameters, in lower case, that carry a signature or a credential."""

SECRET_PREFIXES: Final = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-ms-")
"""Beginnings of such parameters: AWS Signature 4, Google, Alibaba, Tencent, Azure."""

SECRET_OPTIONS: Final = re.compile(
    r"secret|password|passwd|token|credential|signature|api_?key|account_key|access_key|sas|bearer|authorization|cookie",
    re.IGNORECASE,
)
"""Names of storage options whose values never belong into a file."""

CONTAINER_SCHEMES: Final = frozenset({"abfs", "abfss", "wasb", "wasbs"})
"""Schemes that write the container where others write the user: `abfss://container@account…`."""

_PARAMETERS: Final = re.compile(r"[?#]")
"""What comes behind is a query or a fragment; by text alone, for a stranger's URL need not be one that parsers take."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def is_secret_option(name: str) -> bool:
    """Tell whether a storage option's text is a secret, by its name; `skip_signature` and its like are not."""
    return not name.lower().startswith(("skip_", "aws_skip_")) and SECRET_OPTIONS.search(name) is not None


def secret_in_url(url: str) -> str | None:
    """Return the name of what looks like a secret in a URL, or None.

    Looks at user and password, and at the parameters of query and fragment. Local paths carry none.
    """
    if "://" not in url or not ("?" in url or "@" in url or "#" in url):
        return None
    scheme, _, rest = url.partition("://")
    plain, *parameters = map(str, _PARAMETERS.split(rest))
    user, at, _ = plain.partition("/")[0].rpartition("@")
    if at and (scheme.lower() not in CONTAINER_SCHEMES or ":" in user):
        return "user information"
    for text in parameters:
        for name, _ in parse_qsl(text, keep_blank_values=True):
            lowered = name.lower()
            if lowered in SECRET_PARAMETERS or lowered.startswith(SECRET_PREFIXES):
                return name
    return None


def redacted(url: str) -> str:
    """Return a URL without user information, query and fragment, fit for a message."""
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    host, slash, path = _PARAMETERS.split(rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def redacted_text(text: str) -> str:
    """Return a text in which each URL with a secret is cut down to scheme, host and path."""
    return _URL.sub(lambda found: found[0] if secret_in_url(found[0]) is None else redacted(found[0]), text)


def refuse_secrets(urls: Iterable[str], where: str) -> None:
    """Raise for the first URL that carries a secret.

    Raises
    ------
    RefsetError
        Naming where it stands and the parameter, never its value.
    """
    for url in urls:
        secret = secret_in_url(url)
        if secret is not None:
            raise RefsetError(
                f"{where}: expected unsigned URLs, got {redacted(url)} with a secret ({secret}); "
                "signing happens when a set is read, through storage="
            )


def refuse_secrets_within(value: Any, where: str) -> None:
    """Walk a JSON-like value and refuse URLs with secrets and options named like credentials.

    Raises
    ------
    RefsetError
        Naming the path to the offending entry.
    """
    if isinstance(value, str):
        refuse_secrets([value], where)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            if isinstance(entry, str) and entry and is_secret_option(str(name)):
                raise RefsetError(f"{where}: expected hints without secrets, got the option {name!r}")
            refuse_secrets([str(name)], where)
            refuse_secrets_within(entry, f"{where}.{redacted(str(name))}")
    elif isinstance(value, list | tuple):
        for entry in value:
            refuse_secrets_within(entry, where)
