"""The bench: contestants restore the same damaged pictures, and are measured the same way."""
