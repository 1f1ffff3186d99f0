"""Zero-shot image restoration with bidirectional consistency models (arXiv 2403.18035)."""

__version__ = "0.1.0"
