"""Special functions, quadrature and linear algebra.

``bessel``, ``elementary``, ``high_precision``, ``linalg``, ``margins``, ``newton_schulz``,
``quadrature``, ``random_matrices``, ``levenberg_marquardt``, ``plane_matrices``, ``splines``, ``symbolic_regression``.
"""
