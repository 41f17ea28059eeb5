"""Scanned training loops: ``loop``."""
