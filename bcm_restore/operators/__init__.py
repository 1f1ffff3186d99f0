"""Degradations and their pseudo-inverses: objects with `A(x)`, `pinv(y)` and `fit(x, y)`. Noise is no part of them."""

from bcm_restore.operators.base import Operator, as_operator
from bcm_restore.operators.dct import standard_tables
from bcm_restore.operators.jpeg import Coefficients, Jpeg
from bcm_restore.operators.jpeg_history import estimate_quality
from bcm_restore.operators.mask import Mask
from bcm_restore.operators.resize import Resize

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
