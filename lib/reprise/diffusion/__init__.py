"""Interpolants, flows and samplers."""
