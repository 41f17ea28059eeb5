"""Special functions and linear algebra: ``bessel``, ``high_precision``, ``linalg``."""
