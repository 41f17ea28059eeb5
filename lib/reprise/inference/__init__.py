"""Bayesian inference.

``hmc``, ``kalman``, ``path_measures`` (stochastic equations), ``scale_mixtures``, ``wasserstein_critic``,
``weight_priors``.
"""
