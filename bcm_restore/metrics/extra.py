"""What is said where a package is missing that only some metrics need."""

from ..errors import RestoreError


def missing(metric: str, package: str) -> RestoreError:
    """The error: which metric needs which package, and how to get it."""
    return RestoreError(f'{metric} needs the package {package}; pip install "bcm-restore[tune]"')
