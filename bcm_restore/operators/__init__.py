"""Degradation operators: objects with `A(x)`, `pinv(y)` and `fit(x, y)`. They do not include noise."""

from .base import Operator, as_operator
from .chain import Chain
from .dct import standard_tables
from .jpeg import Coefficients, Jpeg
from .jpeg_search import estimate_quality
from .linear import Linear
from .luma import Luma
from .mask import Mask
from .noise import LumaNoisy, Noisy, Relaxed
from .noise_level import NoiseLevel, estimate_noise, known_noise
from .points import Points
from .resize import Resize
from .unit_range import UnitRange

__all__ = [
    "Chain",
    "Coefficients",
    "Jpeg",
    "Linear",
    "Luma",
    "LumaNoisy",
    "Mask",
    "NoiseLevel",
    "Noisy",
    "Operator",
    "Points",
    "Relaxed",
    "Resize",
    "UnitRange",
    "as_operator",
    "estimate_noise",
    "estimate_quality",
    "known_noise",
    "standard_tables",
]
