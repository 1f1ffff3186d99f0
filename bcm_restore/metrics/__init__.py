"""Image quality metrics: between two pictures, and between two sets of pictures."""

from .fidelity import psnr, psnr_y, ssim
from .frechet import fid
from .patches import sliced_wasserstein
from .perceptual import lpips
from .ssimulacra import ssimulacra2
from .visual import flip, haarpsi

__all__ = ["fid", "flip", "haarpsi", "lpips", "psnr", "psnr_y", "sliced_wasserstein", "ssim", "ssimulacra2"]
