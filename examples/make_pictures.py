"""Makes the damaged pictures in this folder, and the README's before/after pictures with the package.

    python examples/make_pictures.py

The photographs are scikit-image's (astronaut: NASA, public domain; chelsea, coffee and rocket: CC0).
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from bcm_restore import images, tasks

HERE = Path(__file__).parent
FIGURES = HERE / "figures"


def scratches(size: tuple[int, int]) -> np.ndarray:
    """A mask of scratches, dust and a line of text, as on an old print."""
    rng = np.random.default_rng(7)
    mask = np.zeros(size, np.uint8)
    height, width = size
    for _ in range(14):
        x, y = rng.integers(width), rng.integers(-40, height - 80)
        points = [(x + rng.integers(-12, 13), y + step) for step in range(0, int(rng.integers(120, 300)), 40)]
        cv2.polylines(mask, [np.array(points, np.int32)], False, 255, int(rng.integers(1, 4)))
    for _ in range(60):
        cv2.circle(mask, (int(rng.integers(width)), int(rng.integers(height))), int(rng.integers(1, 4)), 255, -1)
    cv2.putText(mask, "Summer 1999", (width - 190, height - 16), cv2.FONT_HERSHEY_SCRIPT_COMPLEX, 1, 255, 2)
    return mask > 0


def before_after(name: str, before: np.ndarray, after: np.ndarray) -> None:
    """Saves both side by side, enlarged to one height."""
    height = max(before.shape[0], after.shape[0])
    left = cv2.resize(before, None, fx=height / before.shape[0], fy=height / before.shape[0], interpolation=0)
    gap = np.full((height, 8, 3), 255, np.uint8)
    Image.fromarray(np.hstack([left, gap, after])).save(FIGURES / f"{name}.jpg", quality=92, subsampling=0)


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    astronaut = np.ascontiguousarray(data.astronaut()[:400, 60:460])
    mask = scratches(astronaut.shape[:2])
    scratched = np.where(mask[..., None], 235, astronaut).astype(np.uint8)
    Image.fromarray(scratched).save(HERE / "astronaut_scratched.png")
    Image.fromarray(mask).save(HERE / "astronaut_mask.png")
    before_after("inpaint", scratched, tasks.get("inpaint").restore(scratched, mask=mask))

    coffee = np.ascontiguousarray(data.coffee()[60:360, 120:520])
    path = HERE / "coffee_quality10.jpg"
    Image.fromarray(coffee).save(path, quality=10)
    decoded, coefficients = images.read(path).pixels, images.jpeg_coefficients(path)
    restored = tasks.get("jpeg").restore(decoded, coefficients=coefficients)
    before_after("jpeg", decoded[40:240, 100:340], restored[40:240, 100:340])

    chelsea = Image.fromarray(data.chelsea()[40:220, 70:340])
    small = chelsea.resize((chelsea.width // 3, chelsea.height // 3), Image.Resampling.BICUBIC)
    small.save(HERE / "chelsea_small.png")
    large = np.asarray(tasks.get("super-resolve").restore(small, scale=4))
    before_after("super-resolve", np.asarray(small), large)

    size = (240, 160)
    pair = [
        np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        for picture in (data.chelsea(), data.coffee())
    ]
    frames = tasks.get("interpolate").restore(pair, frames=5)
    Image.fromarray(np.hstack(frames)).save(FIGURES / "interpolate.jpg", quality=92, subsampling=0)


if __name__ == "__main__":
    main()
