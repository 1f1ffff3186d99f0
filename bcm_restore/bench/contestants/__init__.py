"""Ways to restore damaged pictures, all measured alike."""
