"""`python -m bcm_restore` is the command `bcm-restore`."""

from .cli import main

if __name__ == "__main__":  # processes of `--device a,b` import it, too
    main()
