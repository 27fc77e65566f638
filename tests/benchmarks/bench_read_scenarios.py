"""The read benchmark's scenarios, as data: how many scenes, which tiles, which windows, how far away."""

from dataclasses import dataclass

HTTP_PEERS = (
    "floor",
    "ours",
    "ours_zarr",
    "plain_zarr",
    "rasterio_one",
    "rasterio_threads",
    "asyncgeotiff",
    "rasteret_numpy",
    "virtualizarr_zarr",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One shape of work: the same windows over every scene."""

    name: str
    title: str
    scenes: int
    size: int
    """Pixels along each edge of a scene."""
    tile: int
    chips: int
    """Windows over each scene; 0: the whole scene."""
    chip: int = 0
    """Pixels along each edge of a window."""
    delay: float = 0.0
    """Seconds before each answer."""
    local: bool = False
    """Files instead of a server."""
    dtype: str = "uint16"
    predictor: int = 2
    batch: int = 0
    """Windows of one read; 0: all at once."""
    within: bool = False
    """Each window lies within one tile, as chips cut along a grid do; else at a place drawn anywhere."""
    random: bool = False
    """Windows of all scenes at random places, instead of the same ones over each."""
    peers: tuple[str, ...] = HTTP_PEERS
    slow: tuple[str, ...] = ()
    """Peers measured once only: they take minutes."""


SCENARIOS = (
    Scenario(
        name="chips_15x2",
        title="15 scenes × 2 chips of 256², 1024-px tiles, 50 ms",
        scenes=15,
        size=4096,
        tile=1024,
        chips=2,
        chip=256,
        delay=0.05,
    ),
    Scenario(
        name="chips_30x4",
        title="30 scenes × 4 chips of 256², 1024-px tiles, 50 ms",
        scenes=30,
        size=4096,
        tile=1024,
        chips=4,
        chip=256,
        delay=0.05,
    ),
    Scenario(
        name="chips_200x1",
        title="200 scenes × 1 chip of 128², within one 256-px tile, 100 ms",
        scenes=200,
        size=2048,
        tile=256,
        chips=1,
        chip=128,
        delay=0.1,
        within=True,
        slow=("rasterio_one",),
    ),
    Scenario(
        name="chips_200x1_across",
        title="200 scenes × 1 chip of 128², across two rows of 256-px tiles, 100 ms",
        scenes=200,
        size=2048,
        tile=256,
        chips=1,
        chip=128,
        delay=0.1,
        slow=("rasterio_one",),
    ),
    Scenario(
        name="whole_4x4096", title="4 scenes × 4096², no delay", scenes=4, size=4096, tile=1024, chips=0,
    ),
    Scenario(
        name="whole_band",
        title="one band of 10980², local file",
        scenes=1,
        size=10980,
        tile=1024,
        chips=0,
        local=True,
        peers=("floor", "ours", "ours_zarr", "plain_zarr", "rasterio_one", "rasterio_cores"),
    ),
    Scenario(
        name="random_chips",
        title="1,000 random chips of 256² from 10 local files, batches of 32",
        scenes=10,
        size=4096,
        tile=1024,
        chips=100,
        chip=256,
        local=True,
        random=True,
        batch=32,
        peers=("ours", "ours_cached", "rasterio_open"),
    ),
    Scenario(
        name="float_predictor",
        title="float32 with predictor 3, 3600², local file",
        scenes=1,
        size=3600,
        tile=1024,
        chips=0,
        local=True,
        dtype="float32",
        predictor=3,
        peers=("ours", "ours_zarr", "plain_zarr", "rasterio_one", "rasterio_cores"),
    ),
)  # fmt: skip
