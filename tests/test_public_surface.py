"""What `import rasteret_refs` offers, and what it costs."""

import subprocess
import sys

import pytest

import rasteret_refs as rr

EXPORTED = ["Collection", "RasteretRefsError", "build", "open", "plain_store"]


def in_fresh_process(code):
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return result.stdout.strip()


def test_the_package_exports_these_names_and_no_others():
    assert sorted(rr.__all__) == EXPORTED
    for name in EXPORTED:
        assert getattr(rr, name) is not None


def test_a_collection_offers_these_names_and_no_others():
    of_scenes = {"groups", "latest", "reader", "save", "scenes", "select", "subset", "tiles", "to_xarray", "where"}
    of_labels = {"annotate", "assign_new_splits", "assign_splits", "leakage"}
    of_sets = {"append", "append_report", "audit", "cite", "drop", "export", "merge", "push", "relocate", "verify"}
    of_pixels = {"chips", "get_gdf", "get_numpy", "get_xarray", "read", "sample_points"}
    of_training = {"to_torch", "to_torchgeo"}
    found = {name for part in rr.Collection.__mro__[:-1] for name in vars(part) if not name.startswith("_")}
    assert found == of_scenes | of_labels | of_sets | of_pixels | of_training


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rr.nonsense


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'xarray','pandas','torch','zarr','pyarrow','numpy','obstore','rasterio','pyproj','numcodecs'}"
    assert in_fresh_process(f"import sys, rasteret_refs; print({heavy} & set(sys.modules))") == "set()"


def test_importing_the_package_takes_at_most_a_fifth_of_a_second():
    seconds = in_fresh_process(
        "import time; t = time.perf_counter(); import rasteret_refs; print(time.perf_counter() - t)"
    )
    assert float(seconds) <= 0.2


def test_the_command_line_lists_its_commands_without_importing_them():
    code = (
        "import sys; from click.testing import CliRunner; from rasteret_refs.cli import main;"
        "print(CliRunner().invoke(main, ['--help']).exit_code, 'xarray' in sys.modules, 'pyarrow' in sys.modules)"
    )
    assert in_fresh_process(code) == "0 False False"
