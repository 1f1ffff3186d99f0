"""Degradation operators: objects with `A(x)`, `pinv(y)` and `fit(x, y)`. They do not include noise."""

from .base import Operator, as_operator, data_consistency
from .blur import Blur
from .chain import Chain
from .dct import standard_tables
from .jpeg import Coefficients, Jpeg
from .jpeg_search import estimate_quality
from .linear import Linear
from .luma import Luma
from .mask import Mask
from .noise import LumaNoisy, Noisy, Relaxed, White
from .noise_level import NoiseLevel, given_noise, measure_noise
from .points import Points
from .resize import Resize
from .unit_range import UnitRange

__all__ = [
    "Blur",
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
    "White",
    "as_operator",
    "data_consistency",
    "estimate_quality",
    "given_noise",
    "measure_noise",
    "standard_tables",
]
