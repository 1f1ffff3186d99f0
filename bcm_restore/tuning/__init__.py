"""Tuning of schemes on clean pictures with simulated degradations: `bcm-restore tune`."""
