"""Results and their page."""

import pytest
from helpers import reports
from helpers.pages import Page

from bcm_restore.bench.report.html import to_html


@pytest.fixture(scope="module")
def results():
    """With LPIPS, and no FID."""
    return reports.make(missing=("fid",))


@pytest.fixture(scope="module")
def page(results):
    return Page(to_html(results, reports.picture))
