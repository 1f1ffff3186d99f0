"""Silences the output and warnings of decoders."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

from ..errors import RestoreWarning
from ..streams import STREAMS

# Warnings and Pillow's size limit belong to the whole process: the first decoder changes them, the last restores them.
_LOCK = threading.Lock()
_decoders = 0
_restore = contextlib.ExitStack()

# Without a handler, Pillow's logged warnings would be printed.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextlib.contextmanager
def pillow_silenced() -> Iterator[None]:
    """Turns off Pillow's warnings and its size limit; the caller checks sizes."""
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _decoders
    with _LOCK:
        if _decoders == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", RestoreWarning)  # from other threads
            _restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None
        _decoders += 1


def _end() -> None:
    global _decoders
    with _LOCK:
        _decoders -= 1
        if _decoders == 0:
            _restore.close()


@contextlib.contextmanager
def libraries_silenced() -> Iterator[None]:
    """Silences C libraries (libtiff, libjpeg, OpenCV), which print straight to standard error."""
    with STREAMS, contextlib.redirect_stdout(io.StringIO()), _errors_to_nowhere():
        yield


@contextlib.contextmanager
def _errors_to_nowhere() -> Iterator[None]:
    try:
        saved = os.dup(2)
    except OSError:  # no standard error stream, nothing to silence
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
