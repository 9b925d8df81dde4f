"""Auricle: speech recognition, served and measured."""

__version__ = "0.1.0"
