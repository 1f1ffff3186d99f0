"""The PSNR of pictures after inversion and denoising, by scheme: the table of benchmarks/interpolation.md.

    python benchmarks/interpolation.py [SCHEME ...]

Four pictures of scikit-image, 256x256 centre crops, all inverted with the same small noise. Mean PSNR of the results of
the scheme, without the residual that `interpolate` adds back.
"""

import sys

import numpy as np
from skimage import data

from bcm_restore import schemes, tasks
from bcm_restore.metrics import psnr
from bcm_restore.model import Noise
from bcm_restore.tasks.arrays import to_tensor

PUBLISHED = ["noise 0.07, to 80, to 0", "noise 0.07, to 15, to 80, to 0", "noise 0.07, to 15, to 80, to 3, to 0"]


def crop(picture: np.ndarray, side: int = 256) -> np.ndarray:
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def main() -> None:
    model = tasks.base.loaded(None)
    defaults = [str(scheme) for scheme in tasks.get("interpolate").schemes()[model.name]["any"].values()]
    pictures = [crop(picture) for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())]
    print("| scheme | NFE | PSNR, dB |\n| --- | --- | --- |")
    for text in sys.argv[1:] or defaults + PUBLISHED:
        scheme, scores = schemes.parse(text), []
        for picture in pictures:
            x, back = to_tensor(picture)
            problem = tasks.get("interpolate").problem(x)
            result = schemes.run(scheme, model, x, problem.operator, problem.y, Noise([0]))
            scores.append(psnr(back(result), picture))
        print(f"| {scheme} | {scheme.nfe} | {np.mean(scores):.2f} |", flush=True)


if __name__ == "__main__":
    main()
