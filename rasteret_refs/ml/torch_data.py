"""PyTorch datasets of chips: thin wrappers over `ml.source`, which does the work without torch.

uint16 stays `torch.uint16`. On the CPU torch 2.15 can make such tensors of arrays, collate, stack, index and compare
them for equality, choose by `where`, multiply, divide, clamp and turn them to float; it cannot add, subtract, floor
divide, compare for size, find minima or maxima, interpolate, convolve, or mix them with other integers. `ToFloat` makes
floats of them where the computing is done. Labels and masks are int64.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from rasteret_refs.ml.blocks import MIXED, batches, blocks, share, shuffled
from rasteret_refs.ml.source import Batch, ChipSource

type Sample = dict[str, torch.Tensor]
type Transform = Callable[[Sample], Sample]

READ_BYTES = 256 * 1024 * 1024
"""Pixels that an iterable dataset holds by default, in each worker."""


class _Chips:
    """What both datasets have."""

    def __init__(self, source: ChipSource, transform: Transform | None) -> None:
        self.source = source
        self.transform = transform
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch: random chips are drawn anew, and the iterable dataset's order changes.

        As of `DistributedSampler.set_epoch`: call it before each pass; workers that persist see it too.
        """
        self._epoch.fill_(epoch)

    def _sync(self) -> ChipSource:
        self.source.set_epoch(int(self._epoch))
        return self.source

    @property
    def chips(self) -> pa.Table:
        """The chips of this epoch, in index order; see `ChipSource.chips`."""
        return self._sync().chips

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the class numbers, where labels are text."""
        labels = self._sync().labels
        return None if labels is None else labels.classes

    def weights(self, name: str = "label") -> torch.Tensor:
        """Give a weight for each chip, for `torch.utils.data.WeightedRandomSampler`: classes weigh equally.

        Parameters
        ----------
        name
            A column of `chips`.

        Returns
        -------
        torch.Tensor
            Float64, shape `(chips,)`.
        """
        return torch.from_numpy(self._sync().weights(name))

    def _samples(self, batch: Batch) -> list[Sample]:
        samples = split(tensors(batch))
        return samples if self.transform is None else [self.transform(sample) for sample in samples]


class ChipDataset(_Chips, Dataset[Sample]):  # type: ignore[misc] # torch is not there where types are checked
    """Map-style dataset of chips; a DataLoader's batch is one read.

    Parameters
    ----------
    source
        The chips.
    transform
        Called with each sample.
    """

    def __len__(self) -> int:
        return len(self._sync())

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Read chips as one batch: PyTorch calls this with all indices of a batch."""
        return self._samples(self._sync().read([int(index) for index in indices]))


class ChipStream(_Chips, IterableDataset[Sample]):  # type: ignore[misc] # as above
    """Iterable dataset of chips that reads chips of the same tiles together; each chip once an epoch.

    Parameters
    ----------
    source
        The chips.
    transform
        Called with each sample.
    shuffle
        Shuffle by seed and epoch: blocks of neighbouring chips, and chips among some such blocks.
    memory
        Bytes of pixels to hold, in each worker.
    rank, world_size
        Which process of a distributed training this is; None: as `torch.distributed` says, where it is in use.
    """

    def __init__(
        self,
        source: ChipSource,
        transform: Transform | None,
        *,
        shuffle: bool = True,
        memory: int = READ_BYTES,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(source, transform)
        self._sync().placed  # noqa: B018 - found once, before there are workers that would each find them
        self.shuffle, self.memory = shuffle, memory
        self._rank = rank, world_size

    def _share(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(rank, ranks) and (worker, workers)."""
        rank, world = self._rank
        if rank is None or world is None:
            used = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank, world = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if used else (0, 1)
        worker = get_worker_info()
        return (rank, world), (0, 1) if worker is None else (worker.id, worker.num_workers)

    def reads(self) -> list[list[int]]:
        """Give the chips of this process's and worker's share, read by read."""
        source = self._sync()
        seed, epoch = source.options.seed, source.epoch
        most = max(self.memory // max(source.sample_bytes, 1) // 2, 1)  # one read is used while the next comes in
        order, tiles = source.tile_order()
        parts = blocks(order, tiles, max(most // MIXED, 1) if self.shuffle else most)
        if self.shuffle:
            parts = shuffled(parts, np.random.default_rng([seed, epoch, 1]))
        ranks, workers = self._share()
        mine = share(share(parts, *ranks), *workers)
        mixing = np.random.default_rng([seed, epoch, 2, ranks[0], workers[0]]) if self.shuffle else None
        return [chips.tolist() for chips in batches(mine, most, mixing)]

    def __iter__(self) -> Iterator[Sample]:
        """Give this worker's share of the epoch; the next read runs in a thread while samples are used."""
        source, reads = self._sync(), self.reads()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rasteret-refs-chips") as ahead:
            coming = ahead.submit(source.read, reads[0]) if reads else None
            for following in [*reads[1:], None][: len(reads)]:
                batch = coming.result() if coming is not None else {}
                coming = None if following is None else ahead.submit(source.read, following)
                yield from self._samples(batch)


def tensors(batch: Batch) -> Sample:
    """Make tensors of a batch, without a copy; dtypes stay (uint16 is `torch.uint16`)."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def split(batch: Sample) -> list[Sample]:
    """Take a batch apart into samples that share its memory."""
    count = len(batch["image"])
    return [{name: values[number] for name, values in batch.items()} for number in range(count)]


class ToFloat(torch.nn.Module):  # type: ignore[misc] # as above
    """image · scale + offset as float32, wherever the image is: in the dataset, or on the device for whole batches.

    uint16 tensors can be moved, collated, compared and turned to float, but hardly computed with; so they travel as
    they are, in half the bytes of float32, and become float where the computing is done.

    Parameters
    ----------
    scale, offset
        One number, or one for each channel.
    keys
        What is changed of a sample; all else stays as it is.
    """

    def __init__(
        self,
        scale: float | Sequence[float] = 1.0,
        offset: float | Sequence[float] = 0.0,
        keys: Sequence[str] = ("image",),
    ) -> None:
        super().__init__()
        self.keys = tuple(keys)
        self.register_buffer("scale", _by_channel(scale))
        self.register_buffer("offset", _by_channel(offset))

    def forward(self, sample: Sample) -> Sample:
        """Change a sample or a batch; the one that is given stays as it is.

        Parameters
        ----------
        sample
            Images of shape (…, channels, rows, columns).
        """
        changed = dict(sample)
        for key in self.keys:
            image = sample[key].float()
            changed[key] = image * self.scale.to(image.device) + self.offset.to(image.device)
        return changed


def _by_channel(values: float | Sequence[float]) -> torch.Tensor:
    tensor = torch.as_tensor(values, dtype=torch.float32)
    return tensor if tensor.ndim == 0 else tensor.reshape(-1, 1, 1)
