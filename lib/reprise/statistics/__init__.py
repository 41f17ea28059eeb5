"""Statistics of results: ``fits``."""
