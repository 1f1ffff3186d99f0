"""The sentence that a report opens with."""

import numpy as np
import pytest
from helpers import reports

from bcm_restore.bench.report import answers
from bcm_restore.bench.report.html import to_html
from bcm_restore.bench.report.markdown import to_markdown

NAMES = ("a", "b", "c", "d")


def results(*contestants, task="jpeg", better="higher"):
    """Results with the PSNR of each (name, family, values)."""
    return {
        "task": task,
        "metrics": {"psnr": {"title": "PSNR", "unit": "dB", "better": better, "missing": None}},
        "contestants": [{"name": name, "family": family, "nfe": 1} for name, family, _ in contestants],
        "cases": [
            {
                "name": "quality-10",
                "rows": [
                    {
                        "contestant": name,
                        "mean": {"psnr": float(np.mean(values)) if values else None},
                        "pictures": {n: {"psnr": v} for n, v in zip(NAMES, values, strict=False)},
                    }
                    for name, _, values in contestants
                ],
            }
        ],
    }


OURS = ("BCM, NFE 4", "BCM", [30.0, 31.0, 32.0, 33.0])


def test_the_winner_is_compared_with_the_best_of_another_family():
    found = answers(
        results(
            ("BCM, NFE 1", "BCM", [29.9, 30.9, 31.9, 32.9]),
            OURS,
            ("JPEG", "JPEG", [20.0, 21.0, 22.0, 23.0]),
            ("DDRM", "DDRM", [29.0, 30.0, 31.0, 32.0]),
        )
    )
    assert found == [
        (
            "quality-10",
            "BCM, NFE 4 wins by PSNR: 1.00 dB (95 % interval 1.00 to 1.00) better than DDRM, the best other method.",
        )
    ]


def test_a_lead_that_may_be_chance_is_not_a_win():
    [(_, sentence)] = answers(results(OURS, ("DDRM", "DDRM", [35.0, 28.0, 28.0, 34.0])))
    assert sentence.startswith("No clear winner by PSNR: BCM, NFE 4 is 0.25 dB (95 % interval -")
    assert sentence.endswith(" better than DDRM, the best other method.")


def test_lower_is_better_where_the_metric_says_so():
    data = results(OURS, ("DDRM", "DDRM", [29.0, 29.5, 30.5, 31.0]), better="lower")
    [(_, sentence)] = answers(data)
    assert sentence.startswith("DDRM wins by PSNR: 1.50 dB (95 % interval 1.")


def test_one_picture_has_no_interval():
    [(_, sentence)] = answers(results(("BCM", "BCM", [30.0]), ("JPEG", "JPEG", [29.0])))
    assert sentence == "BCM is 1.00 dB better by PSNR than JPEG, the best other method, on one picture."


@pytest.mark.parametrize("data", [results(OURS), results(), results(OURS, ("BCM, NFE 1", "BCM", [1.0]))])
def test_a_single_method_has_no_answer(data):
    assert answers(data) == []


def test_reports_open_with_it():
    data = reports.make()
    [(case, sentence), *_] = answers(data)
    assert "PSNR in the hole" in sentence
    for page in (to_markdown(data), to_html(data, reports.picture)):
        head = page[: page.index("Hardware")]
        assert "the best other method" in head
    assert case == "box"
