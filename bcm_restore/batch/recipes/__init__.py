"""How each task meets files."""
