"""Training: `bcm-restore train`."""
