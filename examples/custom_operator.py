"""Restores a picture from blurred and noisy measurements by an operator of deepinv: pip install ".[bench]"."""

import deepinv
import skimage.data
import torch
from torchvision.transforms.functional import to_pil_image, to_tensor

from bcm_restore.tasks import Custom

clean = to_tensor(skimage.data.astronaut()[:128, 160:288].copy())[None]  # (1, 3, 128, 128) in [0, 1]
kernel = deepinv.physics.functional.gaussian_blur(sigma=(1.5, 1.5))
physics = deepinv.physics.BlurFFT(clean.shape[1:], kernel, noise_model=deepinv.physics.GaussianNoise(0.01))
y = physics(clean)  # what an instrument would measure
restored = Custom(physics).restore(y, nfe=4)
for name, x in {"measured": y, "restored": restored}.items():
    print(f"{name}: {-10 * torch.log10((x - clean).square().mean()):.2f} dB")
    to_pil_image(x[0].clamp(0, 1)).save(f"{name}.png")
