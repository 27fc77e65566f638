"""TorchGeo's own `RasterDataset` on rasterio over the files of `tests.ml.scenes`: what ours is compared with."""

import pandas as pd
from torchgeo.datasets import RasterDataset


class Scenes(RasterDataset):
    """`<scene>_<band>.tif` below a prefix, one file a band, with the dates of the scenes."""

    filename_regex = r"(?P<id>[^_]+)_(?P<band>[^.]+)\.tif"
    separate_files = True

    def __init__(self, prefix, names, days, bands, *, is_image=True, **options):
        self._names = [f"{prefix}{name}_{bands[0]}.tif" for name in names]
        self._days = dict(zip(names, days, strict=True))
        self.all_bands = tuple(bands)
        self.is_image = is_image
        super().__init__(str(prefix), bands=tuple(bands), **options)

    @property
    def files(self):
        return self._names

    def _filepath_to_timestamp(self, filepath):
        name = filepath.rsplit("/", 1)[1].partition("_")[0]
        begin = pd.Timestamp("2024-01-01T05:00:00") + pd.Timedelta(days=self._days[name])
        return begin, begin + pd.Timedelta(999_999, "us")
