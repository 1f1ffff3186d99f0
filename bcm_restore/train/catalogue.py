"""The objectives by name."""

from collections.abc import Callable

from .objectives import Losses, bct, diffusion, flow_map
from .supervised import i2sb, palette

OBJECTIVES: dict[str, Callable[..., Losses]] = {
    "diffusion": diffusion,
    "bct": bct,
    "flow-map": flow_map,
    "i2sb": i2sb,
    "palette": palette,
}
SUPERVISED = ("i2sb", "palette")  # trained for one kind of damage
TARGET_DECAY = {"flow-map": 0.98}  # EMA decay of the target network; 0 for the others
