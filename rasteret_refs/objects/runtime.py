"""The obstore module that works in this process, also after a fork.

obstore runs on a thread pool (Tokio) that a forked child inherits without its threads: the first call in the child
hangs for ever (https://github.com/tokio-rs/tokio/issues/4301). PyTorch forks its workers on Linux, so a child that
inherits a used obstore loads a second copy of the extension module, whose thread pool starts afresh: 15 MB and 20 ms a
process, once.
"""

import atexit
import importlib
import importlib.machinery
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import time
from types import ModuleType

_EXTENSION = "obstore._obstore"
_lock = threading.Lock()
_inherited = False
"""obstore was imported before this process was forked off."""
_SETTLING = 0.05
_last_use = -1.0
"""When the last asynchronous request ended, by the monotonic clock."""


def used() -> None:
    """Note that an asynchronous request has just ended."""
    global _last_use  # noqa: PLW0603 - process-wide state by its nature
    _last_use = time.monotonic()


@atexit.register
def _settle() -> None:
    """Let obstore's threads put down their last Python objects before the interpreter goes.

    A thread of theirs that asks for the interpreter's lock while it shuts down aborts the process: one in three that
    end right after a request did (obstore 0.12.1, CPython 3.13, two cores), none after 10 ms.
    """
    if _last_use >= 0.0 and time.monotonic() - _last_use < 1.0:
        time.sleep(_SETTLING)


def _after_fork() -> None:
    """Note in the child that the imported obstore belongs to the parent; its lock may have been held."""
    global _inherited, _lock  # noqa: PLW0603 - process-wide state by its nature
    _lock = threading.Lock()
    _inherited = _EXTENSION in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def obstore() -> ModuleType:
    """Return an obstore whose threads live in this process.

    Stores and results of another process's obstore must not be given to it.
    """
    global _inherited  # noqa: PLW0603 - see above
    if _inherited:
        with _lock:
            if _inherited:
                _load_second_copy()
                _inherited = False
    import obstore  # a forked child finds the fresh copy in sys.modules
    import obstore.store

    return obstore


def _load_second_copy() -> None:
    """Put a fresh copy of obstore's extension into `sys.modules`; the loader knows libraries by their inode."""
    library = sys.modules[_EXTENSION].__file__
    if library is None:
        raise ImportError(f"expected {_EXTENSION} to be a file, found none")
    for name in [name for name in sys.modules if name == "obstore" or name.startswith("obstore.")]:
        del sys.modules[name]
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("obstore")
        _load_from(f"/proc/self/fd/{descriptor}", library)
        return
    directory = tempfile.mkdtemp(prefix="obstore-")
    try:
        _load_from(os.path.join(directory, os.path.basename(library)), library)  # noqa: PTH118, PTH119 - plain names
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _load_from(path: str, library: str) -> None:
    """Copy `library` to `path` and import it from there under its usual name."""
    shutil.copyfile(library, path)
    loader = importlib.machinery.ExtensionFileLoader(_EXTENSION, path)
    spec = importlib.util.spec_from_file_location(_EXTENSION, path, loader=loader)
    if spec is None:
        raise ImportError(f"expected an importable copy of {library} at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_EXTENSION] = module
    loader.exec_module(module)
    importlib.import_module("obstore")
