"""Degradations and their pseudo-inverses: objects with `A(x)`, `pinv(y)` and `fit(x, y)`. Noise is no part of them."""

from .base import Operator, as_operator
from .dct import standard_tables
from .jpeg import Coefficients, Jpeg
from .jpeg_search import estimate_quality
from .mask import Mask
from .resize import Resize

__all__ = [
    "Coefficients",
    "Jpeg",
    "Mask",
    "Operator",
    "Resize",
    "as_operator",
    "estimate_quality",
    "standard_tables",
]
