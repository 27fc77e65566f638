"""Pixels of a collection: mosaics on any grid, values at points, chips, and what lies within geometries."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rasteret_refs.extras import needed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import xarray as xr

    from rasteret_refs.read.chips import Chips
    from rasteret_refs.read.reader import Reader
    from rasteret_refs.sources.radiometry import Origin


class Reading:
    """The part of `Collection` that this module gives."""

    @property
    @abstractmethod
    def reader(self) -> "Reader":
        """What reads the pixels."""

    @property
    @abstractmethod
    def scenes(self) -> "pa.Table":
        """The scene table, one row a scene."""

    @needed("Collection.read")
    def read(
        self,
        bbox: Sequence[float] | None = None,
        *,
        geometry: Any = None,
        like: Any = None,
        geobox: Any = None,
        assets: Sequence[str] | None = None,
        bands: Sequence[str | int] | None = None,
        crs: Any = None,
        resolution: float | tuple[float, float] | None = None,
        groupby: str | None = "id",
        order: str = "time",
        mask: Any = None,
        resampling: str | Mapping[str, str] | None = None,
        scale: "bool | Origin" = False,
        masked: bool = False,
        all_touched: bool = False,
        chunks: Any = None,
    ) -> "xr.Dataset":
        """Read these scenes onto one grid, whatever grids and CRSs they lie in.

        Where the grids coincide pixels are only moved; elsewhere GDAL warps them, from the overview that suffices. They
        are the same whatever the chunks and whichever part is loaded; interpolated floats but for rounding.

        Parameters
        ----------
        bbox, geometry
            What to read: (west, south, east, north) in degrees, west > east across the antimeridian; or a geometry in
            longitude and latitude (shapely, GeoJSON, WKB, or a GeoSeries in any CRS) outside of which there are no
            data.
        like, geobox
            Or the grid to fill: that of an xarray object, or a GeoBox. A geometry may clip it.
        assets
            Names; None: all that do not serve as masks.
        bands
            Bands of these assets, by name of the asset, alias, `eo:common_name`, or name or description of a band.
            Only the tiles of these bands are fetched where a TIFF keeps its bands apart. A variable of one band bears
            the name that it was asked by.
        crs
            Of the result: anything that pyproj understands, or `"utm"` for the zone of the area's centre; None: the CRS
            of most images there.
        resolution
            Pixel size in units of `crs`, one number or (x, y); None: that of the finest asset.
        groupby
            What makes one slot: `"id"`, `"time"`, `"solar_day"`, a column of the scene table, or None: one mosaic.
        order
            Which scene of a slot lies on top: `"time"`, or a column, `-` before it for descending order
            (`"eo:cloud_cover"`: the clearest one). The first that has data wins each pixel.
        mask
            Pixels to leave out per scene, before merging: `{"scl": [3, 8, 9, 10]}` by values, `{"qa_pixel": {"bits":
            [1, 3, 4]}}` by bits, or `"clouds"`, as the catalog has it of the dataset that the scenes belong to. A
            scene that has none of the mask assets is refused: its clouds would pass unseen.
        resampling
            GDAL's name of a method, for all or by asset; None: nearest for integers, bilinear for floats.
        scale
            Apply scale and offset, per scene and band; see `to_xarray`.
        masked
            NaN where there is no data, instead of nodata.
        all_touched
            Pixels that `geometry` touches count, not only those whose centre lies inside.
        chunks
            None: lazy without dask; `{}`: chunks of one slot and at most 32 MB; else as in `xarray.Dataset.chunk`.

        Returns
        -------
        xarray.Dataset
            Variables (time, [band,] y, x), lazy. Without `scale` and `masked` they keep the TIFFs' dtype, and no data
            is the nodata that most scenes have (attribute `nodata`), or NaN among floats and 0 among integers where
            none has any; with them it is NaN, and integers of 8 and 16 bit become float32, wider ones float64.

        Raises
        ------
        QueryError
            A name, a grid or a rule that fits nothing, or more than one thing.

        Examples
        --------
        >>> refs.read(  # doctest: +SKIP
        ...     bbox=(77.5, 12.9, 77.7, 13.1), bands=["red", "nir"], groupby="solar_day", mask="clouds", masked=True
        ... ).median("time")
        """
        from rasteret_refs.read.compose import read

        return read(
            self.reader,
            self.scenes,
            bbox=bbox,
            geometry=geometry,
            like=like,
            geobox=geobox,
            assets=assets,
            bands=bands,
            crs=crs,
            resolution=resolution,
            groupby=groupby,
            order=order,
            mask=mask,
            resampling=resampling,
            scale=scale,
            masked=masked,
            all_touched=all_touched,
            chunks=chunks,
        )

    @needed("Collection.sample_points")
    def sample_points(
        self,
        points: Any,
        assets: Sequence[str] | None = None,
        *,
        bands: Sequence[str | int] | None = None,
        crs: Any = None,
        match: str = "all",
    ) -> "pa.Table":
        """Sample pixel values at points, as `rasterio.sample` gives them; all points and scenes are one batch.

        Parameters
        ----------
        points
            (n, 2) coordinates, x before y; a GeoSeries or GeoDataFrame, whose CRS counts; points of shapely, WKB or
            GeoJSON; or a table with such a column, or with columns like `lon` and `lat`.
        assets
            Names; None: all.
        bands
            Names of bands, as in `read`; None: all of these assets.
        crs
            Of coordinates; None: longitude and latitude.
        match
            Which scenes of a point: `"all"` that cover it, or only the `"first"` or the `"latest"` by time.

        Returns
        -------
        pyarrow.Table
            One row a point and scene, by point, then time: `point` (row of the input), `id`, `datetime`, and a column
            for each asset, or by the name that a band was asked by (`<asset>_<n>`, n from 1, where it has several), in
            the pixels' dtype; null where the scene lacks the asset or the point lies outside of it. Nodata stays
            nodata.

        Raises
        ------
        QueryError
            Points that are none, an asset that is not there, an unknown `match`.
        """
        from rasteret_refs.read.points import sample_points

        return sample_points(self.reader, self.scenes, points, assets=assets, bands=bands, crs=crs, match=match)

    def chips(
        self,
        size: int,
        *,
        stride: int | None = None,
        assets: Sequence[str] | None = None,
        columns: Sequence[str] = (),
    ) -> "Chips":
        """Lay windows of equal size over each scene, read in batches by their numbers: `chips.read([3, 5, 8])`.

        Parameters
        ----------
        size
            Rows and columns of a chip, in pixels of the finest asset.
        stride
            Pixels from one chip to the next; None: `size`, so that chips touch.
        assets
            Names; None: all.
        columns
            Of the scene table, to carry along in `chips.table`: splits, labels.

        Returns
        -------
        read.chips.Chips
            With `table` (one row a chip: scene, id, row, column and the columns asked for), `read` and `windows`.

        Raises
        ------
        QueryError
            A name that is not there, or a size or stride below 1.
        """
        from rasteret_refs.read.chips import chips

        return chips(self.reader, self.scenes, size=size, stride=stride, assets=assets, columns=columns)

    @needed("Collection.get_xarray")
    def get_xarray(
        self,
        geometries: Any,
        bands: Sequence[str | int],
        *,
        geometry_crs: Any = None,
        geometry_column: str | None = None,
        target_crs: Any = None,
        **options: Any,
    ) -> "xr.Dataset":
        """Read bands within geometries as one dataset, a time step a scene; what lies outside of them is no data.

        Parameters
        ----------
        geometries
            A bbox (west, south, east, north), a geometry in longitude and latitude, a list or an Arrow array of these,
            a GeoSeries, a GeoDataFrame or an Arrow table. Several are read as one area.
        bands
            Names, as in `read`.
        geometry_crs
            Of geometries without a CRS of their own; None: longitude and latitude.
        geometry_column
            Of a table, where its geometries stand; None: `geometry`.
        target_crs
            Another name of `crs`.
        **options
            Of `read`: `crs`, `resolution`, `groupby`, `mask`, …

        Raises
        ------
        QueryError
            As `read`.
        """
        from rasteret_refs.read.geometries import Geometries

        wanted = Geometries(geometries, crs=geometry_crs, column=geometry_column)
        if target_crs is not None:
            options["crs"] = target_crs
        if len(wanted) == 1 and wanted.boxes[0]:
            return self.read(wanted.shapes[0].bounds, bands=bands, **options)
        return self.read(geometry=wanted.union(), bands=bands, **options)

    @needed("Collection.get_numpy")
    def get_numpy(
        self,
        geometries: Any,
        bands: Sequence[str | int],
        *,
        geometry_crs: Any = None,
        geometry_column: str | None = None,
        masked: bool = False,
        all_touched: bool = False,
    ) -> "npt.NDArray[np.generic]":
        """Read bands within geometries as one array, on each scene's own grid; nothing is resampled.

        Parameters
        ----------
        geometries
            As in `get_xarray`; a geometry's window is the same whichever scene it is read from, if they share a grid.
        bands
            Names, as in `read`.
        geometry_crs, geometry_column
            As in `get_xarray`.
        masked
            NaN where there is no data, instead of nodata.
        all_touched
            Pixels that a geometry touches count, not only those whose centre lies inside.

        Returns
        -------
        numpy.ndarray
            (N, rows, columns) of one band, else (N, bands, rows, columns); N pairs of geometry and scene, by geometry,
            then time. What lies outside is nodata, or 0 where there is none.

        Raises
        ------
        QueryError
            Windows differ in shape, a scene lacks a band, or no scene meets a geometry.
        """
        from rasteret_refs.read.geometries import Geometries, as_numpy, cuts

        wanted = Geometries(geometries, crs=geometry_crs, column=geometry_column)
        return as_numpy(*cuts(self.reader, self.scenes, wanted, bands, masked=masked, all_touched=all_touched))

    @needed("Collection.get_gdf")
    def get_gdf(
        self,
        geometries: Any,
        bands: Sequence[str | int],
        *,
        geometry_crs: Any = None,
        geometry_column: str | None = None,
        masked: bool = False,
        all_touched: bool = False,
    ) -> Any:
        """Read bands within geometries as a table, one row a geometry and scene, each on the scene's own grid.

        Parameters
        ----------
        geometries, bands, geometry_crs, geometry_column, masked, all_touched
            As in `get_numpy`; windows may differ in shape.

        Returns
        -------
        geopandas.GeoDataFrame
            `geometry_id` (number of the geometry), `id`, `datetime`, each band's pixels as an array, `crs` and
            `transform` of the first band's window, the geometry in longitude and latitude, and other columns of the
            geometries' own table.

        Raises
        ------
        QueryError
            A name that nothing has.
        """
        from rasteret_refs.read.geometries import Geometries, as_table, cuts

        wanted = Geometries(geometries, crs=geometry_crs, column=geometry_column)
        choices, found = cuts(self.reader, self.scenes, wanted, bands, masked=masked, all_touched=all_touched)
        return as_table(self.scenes, choices, wanted, found)
