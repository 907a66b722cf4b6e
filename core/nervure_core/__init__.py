"""Nervure core: the words both ends share."""

__version__ = "0.1.0"
