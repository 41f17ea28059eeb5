"""Optax gradient transformations, and what they are compared with: ``sven``, ``baselines``."""
