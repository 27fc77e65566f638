"""Commands; no logic of their own.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with failures recorded.
"""

from rasteret_refs.cli.main import main

__all__ = ["main"]
