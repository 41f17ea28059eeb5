"""Statistics of results and distributions: ``fits``, ``two_sample``, ``von_mises_fisher``."""
