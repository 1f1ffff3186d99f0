"""The process's output streams, which all threads share."""

import threading

STREAMS = threading.RLock()
"""Held by whoever prints, and by whoever silences the streams for a while: what is printed meanwhile would be lost."""
