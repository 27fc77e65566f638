"""Hrefs as sources write them: absolute, without GDAL's prefixes, and never with a secret in them."""

import os.path
import posixpath
import re
from collections.abc import Mapping
from urllib.parse import unquote, urljoin, urlsplit

from rasteret_refs.errors import SourceError

URL_SCHEMES = frozenset(
    {"http", "https", "s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "hf", "file"}
)
"""Schemes of objects; `file:` becomes a plain path."""
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):(//|/|$)")
# GDAL's virtual file systems that only name where bytes lie
# (https://gdal.org/en/stable/user/virtual_file_systems.html).
_VSI_SCHEMES = {"/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://", "/vsiadls/": "az://"}
_SECRET_KEYS = frozenset(
    {
        "sig",  # Azure shared access signature
        "signature",  # AWS signature v2, Google Cloud Storage v2
        "token",
        "access_token",
        "apikey",
        "api_key",
        "api-key",
        "password",
        "secret",
        "awsaccesskeyid",
        "googleaccessid",
        "key-pair-id",  # CloudFront
        "policy",  # CloudFront
        "subscription-key",
        "auth",
        "authorization",
    }
)
_SECRET_PREFIXES = ("x-amz-", "x-goog-", "x-ms-")
# The other fields of an Azure shared access signature mean nothing without `sig`: they are stripped with it.
_SAS_KEYS = frozenset(
    {"sv", "ss", "srt", "sp", "se", "st", "spr", "sr", "skoid", "sktid", "skt", "ske", "sks", "skv", "sip", "si"}
)


def is_url(text: str) -> bool:
    """Whether `text` starts with a scheme of two letters or more (`C:` is a drive)."""
    return _URL.match(text) is not None


def scheme(text: str) -> str:
    """Scheme of a URL in lower case, or `""` for a path."""
    match = _URL.match(text)
    return match.group(1).lower() if match else ""


def without_vsi(href: str) -> str:
    """Take GDAL's `/vsicurl/`, `/vsis3/`, `/vsigs/` and `/vsiaz/` prefixes away.

    Raises
    ------
    SourceError
        For the virtual file systems that name a part of another file (`/vsizip/`, `/vsitar/`, `/vsimem/`, …).
    """
    if not href.startswith("/vsi"):
        return href
    for prefix in ("/vsicurl/", "/vsicurl_streaming/"):
        if href.startswith(prefix):
            return without_vsi(href.removeprefix(prefix))
    if href.startswith("/vsicurl?"):
        options = dict(_pairs(href.removeprefix("/vsicurl?")))
        if "url" in options:
            return unquote(options["url"])
    for prefix, start in _VSI_SCHEMES.items():
        if href.startswith(prefix):
            return start + href.removeprefix(prefix)
    raise SourceError(
        f"{href}: expected an object of its own (a path, a URL, /vsicurl/, /vsis3/, /vsigs/ or /vsiaz/), "
        f"found GDAL's {href.split('/')[1]}, which names bytes inside something else"
    )


def absolute(href: str, base: str | None) -> str:
    """Make `href` an absolute path or URL.

    Parameters
    ----------
    href
        As a STAC item, a list or a table has it.
    base
        URL or absolute path of the document that holds it (not of its folder); None for documents in memory.

    Raises
    ------
    SourceError
        A relative href in a document whose place is unknown, or an unknown scheme.
    """
    href = without_vsi(href.strip())
    if not href:
        raise SourceError("expected the href of a TIFF, found an empty one")
    if is_url(href):
        if scheme(href) == "file" and base is not None and is_url(base) and scheme(base) != "file":
            raise SourceError(
                f"{href}: expected no local file in a document from {base}: it cannot know this machine's"
            )
        return _checked_url(href)
    if href.startswith("//"):
        return "https:" + href
    if href.startswith("/") and (base is None or not is_url(base)):
        return os.path.normpath(href)
    if base is None:
        raise SourceError(
            f"{href}: the href is relative, and the document that holds it does not say where it lies (no link `self`)"
        )
    if not is_url(base):
        return os.path.normpath(os.path.join(os.path.dirname(base), href))  # noqa: PTH118, PTH120 - text, not files
    if scheme(base) in {"http", "https"}:
        return urljoin(base, href)
    # urljoin knows the hierarchical schemes of RFC 3986 only by a list that lacks s3, gs and az.
    start, _, rest = base.partition("://")
    bucket, _, key = rest.partition("/")
    path = href if href.startswith("/") else posixpath.join("/" + posixpath.dirname(key), href)
    return f"{start}://{bucket}{posixpath.normpath(path)}"


def _checked_url(href: str) -> str:
    name = scheme(href)
    if name not in URL_SCHEMES:
        raise SourceError(f"{href}: expected one of {', '.join(sorted(URL_SCHEMES))}, found the scheme {name!r}")
    if name == "file":
        parts = urlsplit(href)
        if parts.netloc not in {"", "localhost"}:
            raise SourceError(f"{href}: a file: URL must not name a host")
        return os.path.normpath(unquote(parts.path))
    canonical = {"s3a": "s3", "gcs": "gs", "azure": "az"}.get(name, name)
    return canonical + href[len(name) :]


def is_secret(key: str) -> bool:
    """Whether a query parameter or storage option of this name carries a credential."""
    lower = key.lower()
    return lower in _SECRET_KEYS or lower.startswith(_SECRET_PREFIXES)


def unsigned(href: str) -> tuple[str, str | None]:
    """Take an Azure shared access signature out of a URL; refuse other credentials.

    A signature of Azure can be had anew when reading (Planetary Computer, or the account's owner), so the bare URL is
    worth keeping. A presigned URL of S3 or Google, a token or a password dies with what it was made for.

    Returns
    -------
    tuple
        The URL without fragment and signature, and ``"azure-sas"`` where there was one, else None.

    Raises
    ------
    SourceError
        Other credentials; the message holds the URL without them.
    """
    if not is_url(href):
        return href, None
    target = href.split("#", 1)[0]
    path, _, query = target.partition("?")
    host = path.partition("://")[2].partition("/")[0]
    if "@" in host and scheme(href) in {"http", "https"}:
        raise SourceError(
            f"{path.replace(host, host.rpartition('@')[2])}: the URL carries a user name or password, which would be "
            "recorded; give credentials as storage options"
        )
    pairs = _pairs(query)
    secrets = sorted({key for key, _ in pairs if is_secret(key)})
    if not secrets:
        return target, None
    if any(key.lower() == "sig" for key in secrets):
        kept = [
            key + ("=" + value if value else "")
            for key, value in pairs
            if not is_secret(key) and key.lower() not in _SAS_KEYS
        ]
        return (path + "?" + "&".join(kept) if kept else path), "azure-sas"
    kinds = ", ".join(sorted(set(map(_kind_of, secrets))))
    raise SourceError(
        f"{path}: the URL carries credentials ({kinds}), which would be recorded and expire; "
        "give the unsigned URL, and credentials as storage options"
    )


def _kind_of(key: str) -> str:
    """Name a credential in a message that files may record, where nothing is to look like a signed URL."""
    signers = {"x-amz-": "a signature of AWS", "x-goog-": "a signature of Google", "x-ms-": "a signature of Azure"}
    return next((kind for prefix, kind in signers.items() if key.lower().startswith(prefix)), key)


def _pairs(query: str) -> list[tuple[str, str]]:
    # Not urllib's parse_qsl: what is kept must stay byte for byte as the server knows it.
    return [(key, value) for key, _, value in (part.partition("=") for part in query.split("&")) if key]


def rewritten(href: str, rules: Mapping[str, str]) -> str:
    """Replace the longest prefix of `href` that `rules` has."""
    matching = [prefix for prefix in rules if href.startswith(prefix)]
    if not matching:
        return href
    prefix = max(matching, key=len)
    return rules[prefix] + href[len(prefix) :]
