"""The one tree of errors: whoever uses the library catches `RasteretRefsError`.

```
RasteretRefsError
├── TiffError                 the bytes are not a TIFF that the standard allows
│   ├── NotATiffError         no TIFF signature (an HTML page, an empty file, a directory, …)
│   ├── TruncatedError        the file ends before what its header promises
│   ├── LimitError            a count or size beyond a named limit, or a loop
│   └── UnsupportedTiffError  a legal TIFF that we refuse by name rather than read wrongly
├── ObjectError               storage did not give the bytes
│   ├── NotFoundError         404, missing file
│   ├── AccessError           401, 403, requester pays without consent, expired signature
│   ├── UnavailableError      429, 5xx, time-outs, dropped connections, after all retries
│   ├── ResponseError         an answer that contradicts the request (200 for a range, short body, wrong Content-Range)
│   ├── ChangedError          the object is not the one that was indexed (ETag, size)
│   └── UnauthorisedSourceError  a reference points outside what the reader allows
├── RefsetError               the reference set itself
│   ├── DamagedError          a file is missing, truncated or altered
│   ├── FormatVersionError    written by a newer version
│   └── ExistsError           the output exists and may not be replaced
├── SourceError               a scene source (STAC, table, list) that cannot be understood
├── LayoutError               scenes that cannot share arrays as asked
├── QueryError                an expression, selection or name that fits nothing
├── DecodeError               a tile's bytes do not decode to what the profile says
├── BuildError                a build that could not finish
└── MissingPackageError       an optional package is not installed; the message names the extra
```
"""


class RasteretRefsError(Exception):
    """Root of all errors that this library raises on purpose."""


class TiffError(RasteretRefsError, ValueError):
    """The bytes are not a TIFF that the standard allows."""


class NotATiffError(TiffError):
    """The bytes carry no TIFF signature."""


class TruncatedError(TiffError):
    """The file ends before what its header promises."""


class LimitError(TiffError):
    """A count or size lies beyond a named limit, or IFDs form a loop."""


class UnsupportedTiffError(TiffError):
    """A TIFF that we refuse by name rather than read wrongly."""


class ObjectError(RasteretRefsError, OSError):
    """Storage did not give the bytes that were asked for."""

    attempts: int = 1
    """Requests that were sent before giving up."""


class NotFoundError(ObjectError, FileNotFoundError):
    """There is no such object or file."""


class AccessError(ObjectError, PermissionError):
    """Storage refuses access: 401, 403, requester pays without consent, an expired signature."""


class UnavailableError(ObjectError):
    """Storage did not answer, or only with 429 or 5xx, after all retries."""


class ResponseError(ObjectError):
    """The answer contradicts the request: 200 for a range, a short body, another Content-Range."""


class ChangedError(ObjectError):
    """The object is not the one that was indexed: its ETag or size differs."""


class UnauthorisedSourceError(ObjectError):
    """A reference points outside the sources that the reader allows."""


class RefsetError(RasteretRefsError):
    """The reference set cannot be used as it is."""


class DamagedError(RefsetError):
    """A file of the reference set is missing, truncated or altered."""


class FormatVersionError(RefsetError):
    """The reference set was written in a format version that this library does not know."""


class ExistsError(RefsetError, FileExistsError):
    """The output exists and may not be replaced."""


class SourceError(RasteretRefsError, ValueError):
    """A source of scenes that cannot be understood."""


class LayoutError(RasteretRefsError, ValueError):
    """Scenes or assets that cannot share arrays as asked."""


class QueryError(RasteretRefsError, ValueError):
    """An expression, selection or name that fits nothing in the collection."""


class DecodeError(RasteretRefsError, ValueError):
    """A tile's bytes do not decode to what its profile says."""


class BuildError(RasteretRefsError):
    """A build that could not finish."""


class MissingPackageError(RasteretRefsError, ModuleNotFoundError):
    """An optional package is not installed; the message names the extra that brings it."""
