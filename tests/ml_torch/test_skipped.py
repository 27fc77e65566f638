"""Says why nothing else of this folder ran."""

import pytest

from tests.ml_torch.conftest import MISSING, REASON


def test_torch_and_torchgeo_are_there():
    if MISSING:
        pytest.skip(REASON)
