"""Statistics of results and distributions: ``fits``, ``von_mises_fisher``."""
