"""Beginning GDAL and PROJ in a thread, without Python's lock.

The first warp of a thread takes 40 ms longer than those that follow: PROJ opens its database and reads what it needs.
rasterio holds Python's lock for nearly all of it, so that nothing else goes on in the process; but it lets the lock go
while GDAL opens a dataset and reads its pixels. So a dataset whose pixels are a warp (a text in memory,
https://gdal.org/en/stable/drivers/raster/vrt.html#warped-vrt) does the same, and no thread waits for it.
"""

import threading
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

from rasteret_refs.extras import needed

_GIVEN = '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
_WARPED = """<VRTDataset rasterXSize="1" rasterYSize="1" subClass="VRTWarpedDataset">
<GeoTransform>500000,1,0,0,0,-1</GeoTransform>
<VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/>
<GDALWarpOptions>
<SourceDataset>{given}</SourceDataset>
<Transformer><GenImgProjTransformer>
<SrcGeoTransform>500000,1,0,0,0,-1</SrcGeoTransform><DstGeoTransform>500000,1,0,0,0,-1</DstGeoTransform>
<ReprojectTransformer><ReprojectionTransformer>
<SourceSRS>{source}</SourceSRS><TargetSRS>{wanted}</TargetSRS>{options}
</ReprojectionTransformer></ReprojectTransformer>
</GenImgProjTransformer></Transformer>
<BandList><BandMapping src="1" dst="1"/></BandList>
</GDALWarpOptions>
</VRTDataset>"""

_AREA = '<Options><Option key="AREA_OF_INTEREST">{area}</Option></Options>'

_this = threading.local()


def begin(source: Any, wanted: Any, area: str | None = None) -> None:
    """Let GDAL begin in this thread, where it has not.

    Parameters
    ----------
    source, wanted
        `pyproj.CRS` of pixels and of where they are wanted. Where there is no way from one to the other nothing is
        raised: the warp itself will say so.
    area
        Place of the image, as GDAL is told it for the warps to come: it keeps what it finds for a place.
    """
    if getattr(_this, "begun", False):
        return
    _this.begun = True
    with needed("warping pixels onto another grid"):
        import rasterio
        from rasterio._err import CPLE_BaseError
        from rasterio.errors import RasterioError
    options = "" if area is None else _AREA.format(area=area)
    text = _WARPED.format(
        given=escape(_GIVEN), source=escape(source.to_wkt()), wanted=escape(wanted.to_wkt()), options=options
    )
    with suppress(RasterioError, CPLE_BaseError), rasterio.Env(), rasterio.open(text) as warped:
        warped.read(1)
