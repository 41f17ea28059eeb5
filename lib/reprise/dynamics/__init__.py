"""Differential equations and their solvers, on Diffrax.

``vector_fields`` right-hand sides · ``solver_costs`` a solver's own error and stiffness estimates, summed over a
solve · ``taylor`` higher time derivatives of a solution · ``fixed_steps`` steps along a grid · ``reversible`` exact
gradients in constant memory · ``controlled`` equations driven by a time series · ``runge_kutta`` solvers that Diffrax
lacks · ``explicit`` Runge-Kutta methods written out · ``maps`` equations as discrete-time systems ·
``chaotic`` chaotic systems · ``attractors`` occupation of state space, spectra ·
``model_reduction`` projection and interpolation of an ODE layer · ``stochastic`` equations with diagonal
noise: stable classes, Euler's scheme, Lyapunov exponents · ``neural_sde`` neural ones that read a time series ·
``integral_equations`` equations whose solution depends on itself at all times, Picard's iteration ·
``singular`` equations with singular points · ``elasticity`` large deformations of triangulated bodies ·
``fractional_noise`` fractional Brownian motion, Markov approximations ·
``active_matter`` kinetic theory of active rods · ``closures`` of its moment equations ·
``homotopy`` paths that end at a fixed point · ``fixed_points`` layers that are fixed points.
"""
