"""`python -m bcm_restore` is the command `bcm-restore`."""

from .cli import main

main()
