"""Restoration models that are trained for one kind of damage, to compare with: I2SB and Palette."""

from .i2sb import I2SB
from .model import SupervisedModel, is_supervised, load, save
from .palette import Palette
from .process import Damaged, Process, make_process

__all__ = ["I2SB", "Damaged", "Palette", "Process", "SupervisedModel", "is_supervised", "load", "make_process", "save"]
