"""What may be asked for on behalf of a reference set: prefixes, schemes, hosts and addresses.

The rule, for a set that this user did not write on this machine (see `refset.trust`):

1. What the caller allows (`allow=`) is allowed, whatever it is; nothing else can give consent.
2. Anything else must lie below a prefix that the set's seal names,
3. have one of the schemes of `REMOTE_SCHEMES`, a plain name as bucket or host, and no dotted segments, and
4. over HTTP, lead to a public address: names that resolve to loopback, link-local, private or otherwise special
   addresses are refused when the connection is made, so that a name cannot change its meaning in between.
5. Redirections are requests of their own: the same rule holds for each.

For a set that this user wrote here, the build was the consent to its prefixes; a reference outside them is refused.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from rasteret_refs.errors import UnauthorisedSourceError
from rasteret_refs.objects.location import is_url

REMOTE_SCHEMES = frozenset({"http", "https", "s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "hf"})
"""Schemes that a stranger's set may use."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:@[A-Za-z0-9.-]+)?\Z")
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
_REDIRECTIONS = {"huggingface.co": (".hf.co", ".huggingface.co")}
"""Hosts that hand their objects out through their own storage networks."""
_SPECIAL = tuple(map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24")))
"""Networks that Python takes for public: IPv6's old site-local addresses, documentation (RFC 9637), 6to4 relays."""
_REMEMBERED = 65536


@dataclass(slots=True)
class Authority:
    """Decides on URLs; picklable, for any number of threads.

    Parameters
    ----------
    prefixes
        What the set's seal names.
    allow
        What the caller allows beyond: prefixes of URLs, or directories.
    trusted
        The user wrote the set on this machine: its prefixes need no further look.
    name
        The set, for messages.
    """

    prefixes: tuple[str, ...]
    allow: tuple[str, ...] = ()
    trusted: bool = False
    name: str = "this set"
    _known: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __getstate__(self) -> tuple[tuple[str, ...], tuple[str, ...], bool, str]:
        return self.prefixes, self.allow, self.trusted, self.name

    def __setstate__(self, state: tuple[tuple[str, ...], tuple[str, ...], bool, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, url: str) -> None:
        """Refuse a URL.

        Raises
        ------
        UnauthorisedSourceError
            The message names the set, the URL, the reason, and what the caller could allow.
        """
        if url in self._known:
            return
        problem = self.problem(url)
        if problem is not None:
            raise UnauthorisedSourceError(
                f"{self.name}: expected sources that may be read, got {_shown(url)}: {problem}; "
                f"if you trust it, allow={[_consent(_shown(url))]!r}"
            )
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add(url)

    @property
    def guarded(self) -> bool:
        """Whether each address and redirection must be looked at."""
        return not self.trusted

    def problem(self, url: str) -> str | None:
        """Say why a URL may not be asked for; None where it may."""
        if self.is_allowed(url):
            return None
        if not any(below(url, prefix) for prefix in self.prefixes):
            return f"it lies outside the prefixes that the seal names, {list(self.prefixes[:3])}"
        return None if self.trusted else foreign_problem(url)

    def is_allowed(self, url: str) -> bool:
        """Tell whether the caller allows a URL explicitly: below a prefix, and not out of it again."""
        return any(below(url, prefix) for prefix in self.allow) and not _has_dots(url) and not _has_controls(url)

    def redirection_problem(self, origin: str, target: str) -> str | None:
        """Say why a redirection may not be followed; None where it may."""
        if self.problem(target) is None:
            return None
        source, parts = urlsplit(origin), urlsplit(target)
        problem = foreign_problem(target)
        if problem is not None:
            return problem
        host = parts.hostname or ""
        if host == source.hostname and parts.scheme in {source.scheme, "https"}:
            return None
        if parts.scheme == "https" and host.endswith(_REDIRECTIONS.get(source.hostname or "", ("//",))):
            return None
        return f"it leads to another host than {source.hostname}"

    def address_problem(self, host: str, address: str, port: int) -> str | None:
        """Say why no connection to an address may be made on behalf of a host's name; None where it may."""
        if any(_names_host(prefix, host, port) for prefix in self.allow):
            return None
        return None if is_public(address) else f"{host} is {address}, which is no public address"


def foreign_problem(url: str) -> str | None:
    """Say what speaks against a URL in a stranger's set, by its text alone; None where nothing does."""
    if not is_url(url) or url.lower().startswith(("file:", "local:")):
        return "it is a local file, and the set was not written here by you"
    scheme = url.partition("://")[0].lower()
    if scheme not in REMOTE_SCHEMES:
        return f"the scheme {scheme} is none of those that a set may use"
    if _has_dots(url) or _has_controls(url):
        return "its path has dotted segments, backslashes or control characters"
    rest = url.partition("://")[2].partition("/")[0]
    if scheme not in {"http", "https"}:
        return None if _BUCKET.match(rest) else f"{rest!r} is no name of a bucket"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"it is no URL: {error}"
    if not host or "@" in parts.netloc:
        return "it has no host, or user information before it"
    name = host.rstrip(".").lower()
    if name == _LOCAL_NAMES[0] or name.endswith(_LOCAL_NAMES[1:]):
        return f"{host} is a name of this machine or of its network"
    if _looks_like_address(name) and not is_public(name):
        return f"{host} is no public address"
    return None


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, also when it wraps another one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        packed = found.packed
        wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if wrapped is None and packed[:12] in {bytes.fromhex("0064ff9b") + bytes(8), bytes(12)}:
            wrapped = ipaddress.IPv4Address(packed[12:])
        if wrapped is not None:
            return is_public(str(wrapped))
    special = any(found in network for network in _SPECIAL if network.version == found.version)
    return found.is_global and not (special or found.is_multicast or found.is_reserved)


def below(url: str, prefix: str) -> bool:
    """Tell whether a URL lies below a prefix, taken as whole path segments; schemes and hosts ignore case."""
    url, prefix = _host_lowered(url), _host_lowered(prefix)
    if prefix.startswith("file:"):
        prefix = unquote(urlsplit(prefix).path)
    if url.startswith("file:"):
        url = unquote(urlsplit(url).path)
    return bool(prefix) and (url == prefix or url.startswith(prefix if prefix.endswith("/") else f"{prefix}/"))


def _host_lowered(url: str) -> str:
    start, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    return f"{start.lower()}://{host.lower() if start.lower() in {'http', 'https'} else host}{slash}{path}"


def _has_dots(url: str) -> bool:
    """Tell whether a path goes up or stays, written plainly or escaped (once or twice)."""
    path = url.partition("://")[2] if "://" in url else url
    if url.lower().startswith(("http:", "https:")):  # elsewhere a question mark is a letter like any other
        path = path.partition("?")[0]
    plain = unquote(unquote(path))
    return any(segment in {".", ".."} for segment in plain.replace("\\", "/").split("/"))


def _has_controls(url: str) -> bool:
    """Tell whether a URL holds what parsers drop or turn: with a tab between them, two dots are `..` to many.

    Names of local files may have all of it.
    """
    return is_url(url) and ("\\" in url or any(character <= " " or character == "\x7f" for character in url))


def _shown(url: str) -> str:
    """Give a URL as messages may show it: without query and fragment, which may hold a secret, and printable."""
    plain = re.split(r"[?#]", url, maxsplit=1)[0] if "://" in url else url
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in plain)


def _looks_like_address(host: str) -> bool:
    """Tell addresses from names, also in the forms that only the system's resolver takes (`0x7f.1`, `2130706433`)."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdecimal() or last.startswith("0x")


def _names_host(prefix: str, host: str, port: int) -> bool:
    """Tell whether a prefix of the caller's is below this very host and port."""
    if not prefix.lower().startswith(("http://", "https://")):
        return False
    parts = urlsplit(prefix)
    usual = 443 if parts.scheme == "https" else 80
    return parts.hostname == host.lower().strip("[]") and (parts.port or usual) == port


def _consent(url: str) -> str:
    """Name the smallest sensible thing to allow: a host, or a file's directory."""
    if "://" in url and not url.startswith("file:"):
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/"
    return url.rpartition("/")[0] + "/"


def as_allowed(allow: str | Sequence[str]) -> tuple[str, ...]:
    """Take the caller's `allow=` as a tuple of prefixes.

    Raises
    ------
    UnauthorisedSourceError
        An entry that is no URL with a host and no absolute directory: it would allow more than it seems to.
    """
    entries = (allow,) if isinstance(allow, str) else tuple(allow)
    for entry in entries:
        absolute = entry.startswith(("/", "file:///"))
        if not absolute and not ("://" in entry and entry.partition("://")[2].strip("/")):
            raise UnauthorisedSourceError(
                f"allow: expected prefixes like 'https://host/' or '/directory/', got {entry!r}"
            )
    return entries
