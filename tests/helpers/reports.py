"""Results of the bench and their pictures, for the tests of its report."""

import zlib

import cv2
import numpy as np
import skimage.data

ODD = 'i2sb <b>"ü"</b> & |*_x_*| $\\alpha$'
LPIPS = "LPIPS needs AlexNet's weights; 'bcm-restore weights download lpips-alex' fetches them"
FID = "FID needs Inception's weights; put them into <weights> & try again"
CONTESTANTS = (
    ("BCM, NFE 1", "BCM", 1),
    ("BCM, NFE 4", "BCM", 4),
    ("BCM, NFE 8", "BCM", 8),
    ("DDRM, NFE 4", "DDRM", 4),
    ("DDRM, NFE 8", "DDRM", 8),
    ("DPS, NFE 100", "DPS", 100),
    ("Telea", "Telea", 0),
    (ODD, ODD, None),
)
FEW = (("BCM, NFE 1", "BCM", 1), ("BCM, NFE 4", "BCM", 4), ("Telea", "Telea", 0))
METRICS = {
    "psnr": ("PSNR", "dB", "higher"),
    "psnr_hole": ("PSNR in the hole", "dB", "higher"),
    "ssim": ("SSIM", "", "higher"),
    "lpips_alex": ("LPIPS (AlexNet)", "", "lower"),
    "fid": ("FID", "", "lower"),
}
PATH_METRICS = {"path_length": ("path length", "", "lower"), "psnr_ends": ("PSNR of the ends", "dB", "higher")}


def make(
    task="inpaint",
    cases=("box", "half of <it> & more"),
    names=("astronaut", "chelsea", "coffee", 'a<b>&"ñ|_*'),
    contestants=CONTESTANTS,
    missing=("lpips_alex", "fid"),
    seed=0,
):
    """A results dict with means, errors and comparisons that follow from its pictures' values."""
    columns = PATH_METRICS if task == "interpolate" else METRICS
    rng = np.random.default_rng(seed)
    sums = [f"{zlib.crc32(ascii(name).encode()):064x}" for name in names]
    data = [{"name": n, "width": 256, "height": 256, "sha256": s} for n, s in zip(names, sums, strict=True)]
    return {
        "version": 1,
        "task": task,
        "command": f"bcm-restore bench --task {task} --data 'my <pictures> & more'",
        "date": "2026-11-21T08:00:00+00:00",
        "seed": seed,
        "data": {"name": "scikit-image", "size": "256", "pictures": data},
        "versions": {"bcm-restore": "0.1.0", "python": "3.11.2", "torch": "2.15.0"},
        "hardware": {"device": "cpu", "processor": "Some <CPU> @ 2 GHz", "threads": 2},
        "metrics": {
            key: {"title": title, "unit": unit, "better": better, "missing": _how(key) if key in missing else None}
            for key, (title, unit, better) in columns.items()
        },
        "contestants": [
            {"name": name, "family": family, "nfe": nfe, "identity": {"kind": family, "scheme": f"noise {nfe} </pre>"}}
            for name, family, nfe in contestants
        ],
        "cases": [
            {
                "name": case,
                "notes": [f"FID of {len(names)} pictures means little: 2,000 or more are usual", "a < b & *c*"],
                "rows": _rows(columns, names, contestants, missing, rng),
            }
            for case in cases
        ],
    }


def _how(key):
    return LPIPS if key == "lpips_alex" else FID


def _rows(columns, names, contestants, missing, rng):
    hardness = rng.normal(0, 1, len(names))
    rows = []
    for name, _, nfe in contestants:
        skill = 2 + np.log2(nfe) if nfe else 1.0
        values = {
            "psnr": 22 + skill + hardness + rng.normal(0, 0.4, len(names)),
            "psnr_hole": 14 + skill + hardness + rng.normal(0, 0.4, len(names)),
            "ssim": 0.7 + skill / 50 + rng.normal(0, 0.02, len(names)),
            "lpips_alex": 0.4 - skill / 30 + rng.normal(0, 0.02, len(names)),
            "path_length": 1 + skill / 10 + rng.normal(0, 0.02, len(names)),
            "psnr_ends": 30 + skill + rng.normal(0, 0.2, len(names)),
        }
        values = {key: values[key] for key in columns if key in values and key not in missing}
        rows.append(_row(columns, names, (name, nfe), values, skill, missing))
    ours = {nfe: row for (_, family, nfe), row in zip(contestants, rows, strict=True) if family == "BCM"}
    for (_, _, nfe), row in zip(contestants, rows, strict=True):
        reference = ours.get(nfe, ours[max(ours)])
        if reference is not row:
            row["versus"] = {"against": reference["contestant"]} | {
                key: _paired(row, reference, key, better) for key, (_, _, better) in columns.items() if key in values
            }
    return rows


def _row(columns, names, contestant, values, skill, missing):
    name, nfe = contestant
    known = nfe is not None
    mean = {key: float(values[key].mean()) if key in values else None for key in columns}
    if "fid" in columns and "fid" not in missing:
        mean["fid"] = 80.0 - 5 * skill
    several = len(names) > 1
    error = {
        key: float(values[key].std(ddof=1) / np.sqrt(len(names))) if several and key in values else None
        for key in columns
    }
    cost = {"seconds": 0.11 * (nfe + 0.02) if known else None, "peak_memory": 812_000_000 if nfe else None}
    return {
        "contestant": name,
        "mean": mean,
        "error": error,
        **cost,
        "megapixels_per_second": 0.065536 / cost["seconds"] if known else None,
        "versus": None,
        "pictures": {
            picture: {**{key: float(of[n]) for key, of in values.items()}, **cost} for n, picture in enumerate(names)
        },
    }


def _paired(row, reference, key, better):
    ours, theirs = ([values[key] for values in x["pictures"].values()] for x in (row, reference))
    differences = np.subtract(ours, theirs)
    half = float(1.96 * differences.std(ddof=1) / np.sqrt(len(differences))) if len(differences) > 1 else None
    mean = float(differences.mean())
    wins = differences > 0 if better == "higher" else differences < 0
    return {
        "difference": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
        "win_rate": float(wins.mean()),
    }


PHOTOS = ("chelsea", "coffee", "astronaut")


def picture(case, who, name):
    """A photograph; with a box if damaged, with an error in the box if restored."""
    number = zlib.crc32(name.encode())
    photo = getattr(skimage.data, name if name in PHOTOS else PHOTOS[number % len(PHOTOS)])()
    clean = np.ascontiguousarray(photo[20:276, 100:356])
    if who == "clean":
        return clean
    shown = clean.copy()
    box = (slice(100, 164), slice(60, 150))
    shown[box] = 0
    if who != "damaged":
        strength = 2 + zlib.crc32(who.encode()) % 9
        shown[box] = cv2.GaussianBlur(clean, (0, 0), strength)[box]
    return shown


def flat(case, source, name):
    """Grey 200x160 pictures; contestants differ only at (30..50, 100..120)."""
    shown = np.full((200, 160, 3), 90, np.uint8)
    if source == "clean":
        shown[170:190, 130:150] = 255  # all contestants are equally wrong here
    if source.startswith("BCM"):
        shown[100:120, 30:50] = 100 + 20 * int(source[-1])
    return shown
