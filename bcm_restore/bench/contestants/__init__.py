"""The contestants: methods that restore damaged pictures."""
