"""Reprise: deep-learning papers, performed again, on one JAX library.

Import from the module that holds what you need (``from reprise.kernels.ntk import ...``): rooms re-export nothing, so
that a notebook depends on exactly the modules it names and on what those import.
"""

__version__ = "0.1.0"
