"""The bench: contestants restore the same damaged pictures and are scored by the same metrics."""
