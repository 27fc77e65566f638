"""`inspect FILE`: the IFDs of a TIFF as a table or JSON."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, print_table, reports_errors
from rasteret_refs.tiff.values import Georeference, Planar, TiffFile, TiffImage

_COMPRESSIONS = {
    1: "none", 2: "CCITT RLE", 3: "CCITT T.4", 4: "CCITT T.6", 5: "LZW", 6: "old-style JPEG", 7: "JPEG",
    8: "Deflate", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate (old)", 33003: "JPEG 2000",
    33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "ZSTD",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
"""Names of tag 259's values (TIFF 6.0, libtiff's tiff.h, DNG 1.7)."""
_COLUMNS = ("IFD", "role", "size", "samples", "type", "compression", "predictor", "chunks", "chunk size", "bytes",
            "nodata")  # fmt: skip


@click.command("inspect")
@click.argument("file")
@json_option
@storage_option
@reports_errors
def command(file: str, *, as_json: bool, storage_file: Path | None) -> None:
    """Show the IFDs of FILE, a TIFF's path or URL."""
    from rasteret_refs.build.headers import FirstRead, read_header
    from rasteret_refs.objects.blocking import run
    from rasteret_refs.objects.client import Objects
    from rasteret_refs.objects.location import canonical
    from rasteret_refs.tiff.georeference import georeference

    objects = Objects(read_storage(storage_file))
    header = run(read_header(canonical(file), objects, FirstRead()))
    place = georeference(header.file.images[0].description)
    if as_json:
        print_json(
            {
                "url": header.url,
                "size": header.size,
                "etag": header.etag,
                "requests": objects.traffic.requests,
                "bytes_read": objects.traffic.bytes,
                **_file_facts(header.file),
                "georeference": _place_facts(place),
                "ifds": [_image_facts(image) for image in header.file.images],
                "refused": [{"offset": offset, "reason": reason} for offset, reason in header.file.refused],
            }
        )
        return
    facts = {"file": header.url, "size": f"{header.size} bytes", **_file_facts(header.file)}
    if place is not None:
        facts |= {"crs": _crs_name(place), "transform": place.transform}
    print_facts(facts | {"read": f"{objects.traffic.bytes} bytes in {objects.traffic.requests} requests"})
    print_table("IFDs", _COLUMNS, [_row(image) for image in header.file.images])
    for offset, reason in header.file.refused:
        click.echo(f"left out: the IFD at byte {offset}: {reason}")


def _file_facts(file: TiffFile) -> dict[str, Any]:
    return {
        "format": "BigTIFF" if file.big else "TIFF",
        "byte_order": "little-endian" if file.byte_order == "<" else "big-endian",
        "header_end": file.header_end,
        "cog": file.ghost.get("LAYOUT") == "IFDS_BEFORE_DATA",
    }


def _crs_name(place: Georeference) -> str:
    if place.epsg is not None:
        return f"EPSG:{place.epsg}"
    return "none" if place.crs_wkt is None else place.crs_wkt.split('"')[1] if '"' in place.crs_wkt else "custom"


def _place_facts(place: Georeference | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"epsg": place.epsg, "crs_wkt": place.crs_wkt, "transform": place.transform, "gcps": len(place.gcps),
            "pixel_is_point": place.pixel_is_point}  # fmt: skip


def _image_facts(image: TiffImage) -> dict[str, Any]:
    """Everything about an IFD but the chunks themselves."""
    d = image.description
    present = image.byte_counts > 0
    return {
        "page": image.page,
        "parent": image.parent,
        "offset": image.ifd_offset,
        "role": d.role.value,
        "width": d.width,
        "height": d.height,
        "samples": d.samples,
        "bits": d.bits,
        "sample_format": d.sample_format.name.lower(),
        "planar": "separate" if d.planar is Planar.SEPARATE else "chunky",
        "photometric": d.photometric,
        "compression": d.compression,
        "compression_name": _COMPRESSIONS.get(d.compression, "unknown"),
        "predictor": d.predictor,
        "tiled": d.tiled,
        "chunk_width": d.chunk_width,
        "chunk_height": d.chunk_height,
        "chunks": int(d.chunk_count),
        "sparse_chunks": int(np.count_nonzero(~present)),
        "bytes": int(image.byte_counts.sum()),
        "nodata": d.nodata_text,
        "gdal_metadata": d.gdal_metadata,
        "image_description": d.image_description,
        "datetime": d.datetime_text,
        "software": d.software,
    }


def _row(image: TiffImage) -> tuple[Any, ...]:
    facts = _image_facts(image)
    number = image.page if image.parent is None else f"{image.parent}/{image.page}"
    chunks = f"{facts['chunks']} {'tiles' if facts['tiled'] else 'strips'}"
    if facts["sparse_chunks"]:
        chunks += f", {facts['sparse_chunks']} sparse"
    samples = f"{facts['samples']} {facts['planar']}" if facts["samples"] > 1 else "1"
    return (
        number,
        facts["role"],
        f"{facts['width']}×{facts['height']}",
        samples,
        f"{facts['sample_format']}{facts['bits']}",
        f"{facts['compression_name']} ({facts['compression']})",
        facts["predictor"],
        chunks,
        f"{facts['chunk_width']}×{facts['chunk_height']}",
        facts["bytes"],
        "" if facts["nodata"] is None else facts["nodata"],
    )
