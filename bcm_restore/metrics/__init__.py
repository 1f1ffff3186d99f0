"""Image quality metrics: between two pictures, and between two sets of pictures."""

from .fidelity import psnr, psnr_y, ssim
from .frechet import fid
from .perceptual import lpips

__all__ = ["fid", "lpips", "psnr", "psnr_y", "ssim"]
