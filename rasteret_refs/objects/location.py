"""URLs and paths → where an object lies: which store, which key. Pure."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from rasteret_refs.errors import SourceError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_AZURE_SCHEMES = frozenset({"az", "abfs", "abfss", "azure", "adl"})
_BUCKET_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs"})
_SIMPLE = re.compile(r"^(https?://[A-Za-z0-9.-]+(?::\d+)?)(/[A-Za-z0-9_.~/=+-]*[A-Za-z0-9_~=+-])$")
"""URLs that need no unescaping: the usual case, taken at once."""
_UNRESERVED = "/!$&'()*+,;=:@~"
"""Left as they are in a URL's path, besides letters, digits and `_.-` (RFC 3986 section 3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where an object lies."""

    kind: str
    """`local`, `http`, `s3`, `gs` or `azure`."""
    root: str
    """What one store serves: `/`, an origin with its query, a bucket, or a container."""
    key: str
    """The object's key below `root`, unescaped, without leading slash."""
    host: str
    """Whose concurrency limit counts: host and port, bucket, or `local`."""


def is_url(text: str) -> bool:
    """Tell a URL (`scheme://…`, `file:…`) from a path."""
    return _SCHEME.match(text) is not None or text.startswith("file:")


def canonical(text: str) -> str:
    """Make a path absolute and `file:` URLs paths; resolve `hf://` to its https address; leave other URLs alone."""
    if text.startswith("file:"):
        return local_path(text)
    if text.startswith("hf://"):
        return _hugging_face(text)
    return text if is_url(text) else os.path.abspath(text)  # noqa: PTH100 - symlinks stay as the user wrote them


def local_path(text: str) -> str:
    """Return the absolute path of a path or `file:` URL.

    Raises
    ------
    SourceError
        For a `file:` URL of another host.
    """
    if not text.startswith("file:"):
        return os.path.abspath(text)  # noqa: PTH100 - as above
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"}:
        raise SourceError(f"expected a file: URL of this host, got host {parts.netloc!r} in {text}")
    return os.path.abspath(unquote(parts.path))  # noqa: PTH100 - as above


@lru_cache(maxsize=65536)
def locate(url: str) -> Location:
    """Return where `url` lies.

    Parameters
    ----------
    url
        An absolute or relative path, or a `file:`, `http(s):`, `s3:`, `gs:`, `az:`/`abfs:` or `hf:` URL.

    Raises
    ------
    SourceError
        For another scheme, a URL without host or bucket, or credentials inside the URL.
    """
    if not is_url(url) or url.startswith("file:"):
        return Location(kind="local", root="/", key=local_path(url).lstrip("/"), host="local")
    if url.startswith("hf://"):
        url = _hugging_face(url)
    scheme = url.split(":", 1)[0].lower()
    if scheme in {"http", "https"}:
        return _http(url)
    if scheme in _BUCKET_SCHEMES or scheme in _AZURE_SCHEMES:
        return _bucket(url, scheme)
    raise SourceError(f"expected a path or a URL of file, http(s), s3, gs, az, abfs or hf, got {scheme}:// in {url}")


def _http(url: str) -> Location:
    simple = _SIMPLE.match(url)
    if simple is not None and "/." not in simple[2] and "//" not in simple[2]:
        return Location(kind="http", root=simple[1], key=simple[2][1:], host=simple[1].partition("://")[2])
    parts = urlsplit(url)
    if not parts.hostname:
        raise SourceError(f"expected a host in the URL, got none: {url}")
    if parts.username or parts.password:
        raise SourceError(f"expected a URL without credentials, got a user name or password for {parts.hostname}")
    origin = f"{parts.scheme.lower()}://{parts.netloc}"
    query = f"?{parts.query}" if parts.query else ""
    key = unquote(parts.path).lstrip("/")
    # The store escapes keys itself. Where that would not give back the path as it was written (`%2F`, `%2B`, empty or
    # dotted segments), the whole path becomes the store's root and stays untouched.
    segments = key.split("/")
    if quote(key, safe=_UNRESERVED) != parts.path.lstrip("/") or any(s in {"", ".", ".."} for s in segments):
        return Location(
            kind="http", root=f"{origin}{quote(parts.path, safe=_UNRESERVED + '%')}{query}", key="", host=parts.netloc
        )
    return Location(kind="http", root=f"{origin}/{query}" if query else origin, key=key, host=parts.netloc)


def _bucket(url: str, scheme: str) -> Location:
    rest = url.split("://", 1)[1]
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise SourceError(f"expected a bucket or container after {scheme}://, got none: {url}")
    if scheme in _AZURE_SCHEMES:
        # abfs://container@account.dfs.core.windows.net/key names the account as well.
        return Location(kind="azure", root=bucket, key=key, host=bucket)
    return Location(kind="s3" if scheme.startswith("s3") else "gs", root=bucket, key=key, host=bucket)


def _hugging_face(url: str) -> str:
    """hf://datasets/owner/name[@revision]/path → its `resolve` URL (huggingface_hub's HfFileSystem paths)."""
    rest = url.removeprefix("hf://")
    kind, _, tail = rest.partition("/")
    prefix = f"{kind}/" if kind in {"datasets", "spaces"} else ""
    parts = (tail if prefix else rest).split("/", 2)
    if len(parts) < 2 or not all(parts[:2]):  # noqa: PLR2004 - owner and name
        raise SourceError(f"expected hf://[datasets/]owner/name[@revision]/path, got {url}")
    name, _, revision = parts[1].partition("@")
    path = parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - owner, name, path
    return f"https://huggingface.co/{prefix}{parts[0]}/{name}/resolve/{revision or 'main'}/{path}"
