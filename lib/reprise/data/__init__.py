"""Data sets, bundled or downloaded on request: ``digits``, ``diabetes``, ``clusters``; ``bundled`` (scikit-learn's
files), ``files`` (downloads).
"""
