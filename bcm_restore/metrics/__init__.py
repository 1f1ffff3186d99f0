"""How near a picture is to another, and a set of pictures to another set."""

from .fidelity import psnr, psnr_y, ssim
from .frechet import fid
from .perceptual import lpips

__all__ = ["fid", "lpips", "psnr", "psnr_y", "ssim"]
