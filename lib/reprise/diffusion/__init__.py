"""Interpolants, flows and samplers: ``interpolants``, ``matching``, ``mixtures``, ``samplers``."""
