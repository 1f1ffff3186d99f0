"""How each task restores files."""
