"""Differential equations and their solvers, on Diffrax."""
