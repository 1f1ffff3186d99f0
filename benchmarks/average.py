"""The average of two models' weights, as a model: how those of bcm-photo and bcm-photo-small were finished.

python benchmarks/average.py START RESULT OUTPUT
"""

import argparse
from pathlib import Path

from safetensors.torch import save_file

from bcm_restore.weights.files import metadata, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("start", "result", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the result; the start has the rest")
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        parser.error(f"--share {options.share:g}: give 0 to 1")
    (other, start), (description, result) = read(options.start), read(options.result)
    if any(other[key] != description[key] for key in ("architecture", "config")):
        parser.error(f"{options.start} and {options.result} have different networks; give two models of one network")
    tensors = {name: start[name].float().lerp(value.float(), options.share) for name, value in result.items()}
    save_file(tensors, options.output, metadata(description, tensors))


if __name__ == "__main__":
    main()
