"""Statistics of results and distributions.

``convergence``, ``ensembles``, ``fits``, ``goodness_of_fit``, ``hurst``, ``neighbours``, ``two_sample``,
``von_mises_fisher``, ``wasserstein``.
"""
