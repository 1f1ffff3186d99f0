"""Schemes: restorations written as short lists of moves, e.g. "noise 0.07, to 80, to 0, fit"."""

from .language import WORDS, Level, Move, Scheme, parse
from .running import Progress, Setting, State, advance, check, remaining_error, run, step

__all__ = [
    "WORDS",
    "Level",
    "Move",
    "Progress",
    "Scheme",
    "Setting",
    "State",
    "advance",
    "check",
    "parse",
    "remaining_error",
    "run",
    "step",
]
