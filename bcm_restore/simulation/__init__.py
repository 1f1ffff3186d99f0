"""Damage done on purpose to clean pictures, for the bench and for `tune`."""
