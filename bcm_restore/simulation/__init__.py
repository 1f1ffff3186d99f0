"""Simulated degradations of clean pictures, for the bench and for `tune`."""
