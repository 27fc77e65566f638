"""What obstore raises, told apart: which error of our tree it is, and whether trying again can help."""

import re
from dataclasses import dataclass
from enum import Enum

from rasteret_refs.errors import (
    AccessError,
    ChangedError,
    NotFoundError,
    ObjectError,
    ResponseError,
    UnavailableError,
)

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_ATTEMPT = re.compile(r"Error performing \w+ \S+ in [^,-]*(?:, after .*?)?\s+- ")
_QUERY = re.compile(r"\?[^\s\"')]*")
_TOO_MANY = 429
_UNSATISFIABLE = 416
_SERVER_ERROR = 500


class Kind(Enum):
    """What a failed request means for the next one."""

    FINAL = "final"
    """The same request fails again."""
    RETRY = "retry"
    """The connection failed, or the server could not answer now."""
    THROTTLED = "throttled"
    """429 or 503: try again, and ask less at once."""
    CONTRADICTION = "contradiction"
    """The answer does not fit the request."""
    UNSATISFIABLE = "unsatisfiable"
    """Nothing lies at the range: it begins at or behind the object's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed request, judged."""

    kind: Kind
    error: type[ObjectError]
    """What to raise when nothing else helps."""
    detail: str
    """What came, in one line."""
    nobody: bool = False
    """No server is there at all: the connection was refused, or the host's name is unknown."""


def judge_status(status: int, detail: str = "") -> Failure:
    """Judge an HTTP status other than 2xx."""
    text = f"status {status}{f' ({detail})' if detail else ''}"
    if status == _UNSATISFIABLE:
        return Failure(kind=Kind.UNSATISFIABLE, error=ResponseError, detail=text)
    if status in {_TOO_MANY, 503}:
        return Failure(kind=Kind.THROTTLED, error=UnavailableError, detail=text)
    if status >= _SERVER_ERROR or status in {408, 425}:
        return Failure(kind=Kind.RETRY, error=UnavailableError, detail=text)
    if status in {401, 402, 403, 407}:
        return Failure(kind=Kind.FINAL, error=AccessError, detail=text)
    if status in {404, 410}:
        return Failure(kind=Kind.FINAL, error=NotFoundError, detail=text)
    if status == 412:  # noqa: PLR2004 - Precondition Failed: If-Match did not fit
        return Failure(kind=Kind.FINAL, error=ChangedError, detail=text)
    return Failure(kind=Kind.FINAL, error=ResponseError, detail=text)


def judge(error: Exception) -> Failure:
    """Judge an exception of obstore by its class, the status in its text, or the text itself.

    obstore gives no status as a value (its `BaseError` has only a message).
    """
    text = str(error)
    detail = _QUERY.sub("", _ATTEMPT.sub("", text.split("\n", 1)[0]))
    status = _STATUS.search(text)
    if status is not None:
        return judge_status(int(status[1]), _server_says(detail))
    name = type(error).__name__
    if isinstance(error, FileNotFoundError):
        if "is directory" in text:
            detail = "a directory"
        elif "os error 2" in text:
            detail = "no such file"
        return Failure(kind=Kind.FINAL, error=NotFoundError, detail=detail)
    if name in {"PermissionDeniedError", "UnauthenticatedError"} or "Permission denied" in text:
        return Failure(kind=Kind.FINAL, error=AccessError, detail=detail)
    if name == "PreconditionError":
        return Failure(kind=Kind.FINAL, error=ChangedError, detail=detail)
    if "LocalFileSystem" in text:
        if "InvalidRange" in text:
            return Failure(kind=Kind.UNSATISFIABLE, error=ResponseError, detail="a range behind the end of the file")
        if "Not a directory" in text:
            return Failure(kind=Kind.FINAL, error=NotFoundError, detail=detail)
        return Failure(kind=Kind.FINAL, error=UnavailableError, detail=detail)
    if name == "NotSupportedError" or "HeaderError" in text or any(mark in text for mark in _CONTRADICTIONS):
        return Failure(kind=Kind.CONTRADICTION, error=ResponseError, detail=detail)
    if "HTTP error" in detail or "HttpError" in text:
        return unanswered(_cause(text, detail))
    return Failure(kind=Kind.FINAL, error=UnavailableError, detail=detail)


_CONTRADICTIONS = ("UnexpectedRange", "Content-Range", "CONTENT_RANGE", "MissingContentLength", "source: Header")
REFUSED = "the connection was refused"
UNKNOWN_HOST = "the host's name cannot be resolved"
_CAUSES = (
    ("TimedOut", "no answer in time"),
    ("kind: Timeout", "no answer in time"),
    ("IncompleteBody", "the connection was closed in the middle of the body"),
    ("ConnectionRefused", REFUSED),
    ("ConnectionReset", "the connection was reset"),
    ("dns error", UNKNOWN_HOST),
    ("IncompleteMessage", "the connection was closed before an answer"),
)


def unanswered(cause: str) -> Failure:
    """Judge a request that broke off, by what broke it off."""
    return Failure(kind=Kind.RETRY, error=UnavailableError, detail=cause, nobody=cause in {REFUSED, UNKNOWN_HOST})


def _cause(text: str, otherwise: str) -> str:
    """Name the cause that lies at the bottom of obstore's chain of sources."""
    return next((meaning for mark, meaning in _CAUSES if mark in text), otherwise)


def _server_says(detail: str) -> str:
    """Return the beginning of the body that came with a refusal, on one line."""
    body = detail.rpartition("non-2xx status code: ")[2].partition(": ")[2].strip()
    return body[:120]
