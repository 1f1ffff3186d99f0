"""The process's output streams, which all threads share."""

import threading

STREAMS = threading.RLock()
"""Held while printing, and while the streams are silenced: output printed in between would be lost."""
