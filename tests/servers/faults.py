"""What a faulty HTTP server answers, as values that travel to the server's process as JSON."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

Kind = Literal[
    "status",
    "ignore_range",
    "short_body",
    "long_body",
    "wrong_content_range",
    "drop",
    "stall",
    "html",
    "changing_etag",
    "no_etag",
    "weak_etag",
    "redirect",
]


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule: requests whose path fits `path` are answered wrongly, `times` times."""

    kind: Kind
    """
    `status`               answer `status` (404, 403, 429, 503, …), with `Retry-After` where `retry_after` is given
    `ignore_range`         200 and the whole object, whatever was asked
    `short_body`           206 and the right Content-Range, but `missing` bytes fewer, as Content-Length says
    `long_body`            206 and the right Content-Range, but `missing` bytes more
    `wrong_content_range`  206 and as many bytes as asked, but those `missing` bytes further on, as Content-Range says
    `drop`                 the connection is cut in the middle of the body
    `stall`                half of the body, then nothing until the client gives up (or `seconds` are over)
    `html`                 200 and a login page
    `changing_etag`        the right bytes, under another ETag each time
    `no_etag`              the right bytes without an ETag, and `modified` as the time
    `weak_etag`            the right bytes under a weak ETag; `If-Match` never fits one
    `redirect`             `status` (302 where it is none of a redirection) to `location`
    """
    path: str = "*"
    """Glob on the URL's path without its leading slash."""
    times: int | None = None
    """How many requests it hits; None: all of them."""
    skip: int = 0
    """Requests that pass before it begins."""
    every: int = 1
    """Hits one of so many requests: 3 hits each third one, deterministically."""
    status: int = 503
    retry_after: float | None = None
    missing: int = 2
    seconds: float = 30.0
    location: str = ""
    modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    method: str | None = None
    """`GET` or `HEAD`; None: both."""
    seen: int = 0
    """Requests that fitted so far; counted by the server."""

    def hits(self, method: str, path: str) -> bool:
        """Whether this request is answered wrongly; counts it."""
        if self.method not in (None, method) or not fnmatchcase(path, self.path):
            return False
        number = self.seen - self.skip
        self.seen += 1
        if number < 0 or number % self.every:
            return False
        return self.times is None or number // self.every < self.times

    def as_json(self) -> dict[str, Any]:
        """The rule as a dictionary of JSON values."""
        return asdict(self)
