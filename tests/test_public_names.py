"""The public surface: which names there are, and that subpackages do not hide functions of the same name."""

import subprocess
import sys
from types import FunctionType

import rasteret_refs as rr


def test_the_public_names_are_these() -> None:
    assert set(rr.__all__) <= set(dir(rr))
    assert {"Collection", "RasteretRefsError", "build", "open", "plain_store"} <= set(rr.__all__)


def test_importing_from_a_subpackage_does_not_hide_the_function_of_its_name() -> None:
    program = (
        "import rasteret_refs.build.scene, rasteret_refs as rr\n"
        "from rasteret_refs.build.run import BuildReport\n"
        "print(type(rr.build).__name__, type(rr.open).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [FunctionType.__name__] * 2
