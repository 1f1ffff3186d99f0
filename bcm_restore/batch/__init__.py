"""Restoring files and folders: crash-safe, on one device, several or a cluster.

from bcm_restore import batch
for outcome in batch.restore("jpeg", ["holiday/"], output="clean/"):
    print(outcome.input, outcome.status, outcome.output)
"""

from .api import restore, restore_file
from .observer import Observer
from .outcomes import Outcome, Status
from .settings import Settings

__all__ = ["Observer", "Outcome", "Settings", "Status", "restore", "restore_file"]
