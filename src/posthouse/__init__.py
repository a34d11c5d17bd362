"""Posthouse (驿站): webhook delivery for open platforms."""

__version__ = "0.1.0"
