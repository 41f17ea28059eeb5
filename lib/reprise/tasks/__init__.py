"""Synthetic tasks with known answers: ``linear_regression`` (prompts for in-context learning), ``single_index``."""
