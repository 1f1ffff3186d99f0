"""How near a picture is to another."""

from .fidelity import psnr, ssim
from .perceptual import lpips

__all__ = ["lpips", "psnr", "ssim"]
