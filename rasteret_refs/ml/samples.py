"""Joining TorchGeo samples of native dtypes: what TorchGeo's own functions do, where they cannot."""

from collections.abc import Iterable, Sequence

import torch

type Sample = dict[str, torch.Tensor]

_NARROW = {torch.uint16: torch.int32, torch.uint32: torch.int64}
"""dtypes that torch 2.15 can hold but not compare for size, and those that hold all their values."""


def concatenated(samples: Sequence[Sample]) -> Sample:
    """Concatenate samples key by key along the first dimension, as TorchGeo's `concat_samples`.

    TorchGeo's refuses tensors without dimensions (labels); here they are stacked when there are several. Where dtypes
    differ the common one is float32, or int64 for integers: torch promotes uint16 with nothing.
    """
    keys = dict.fromkeys(key for sample in samples for key in sample)
    return {key: _joined([sample[key] for sample in samples if key in sample]) for key in keys}


def _joined(values: list[torch.Tensor]) -> torch.Tensor:
    if len(values) == 1:
        return values[0]
    if len({value.dtype for value in values}) > 1:
        floating = any(value.is_floating_point() for value in values)
        values = [value.to(torch.float32 if floating else torch.int64) for value in values]
    return torch.stack(values) if values[0].ndim == 0 else torch.cat(values)


def merged(samples: Iterable[Sample]) -> Sample:
    """Merge samples by the larger value, as TorchGeo's `merge_samples`, which refuses uint16."""
    result: Sample = {}
    for sample in samples:
        for key, value in sample.items():
            result[key] = _larger(result[key], value) if key in result else value
    return result


def _larger(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    wide = _NARROW.get(one.dtype)
    if wide is None or one.dtype != other.dtype:
        return torch.maximum(one.to(_NARROW.get(one.dtype, one.dtype)), other.to(_NARROW.get(other.dtype, other.dtype)))
    return torch.maximum(one.to(wide), other.to(wide)).to(one.dtype)
