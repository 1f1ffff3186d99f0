"""Tuning: which levels and moves restore clean pictures best that were damaged on purpose; `bcm-restore tune`."""
