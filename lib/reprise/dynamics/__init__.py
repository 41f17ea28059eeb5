"""Differential equations and their solvers, on Diffrax.

``vector_fields`` right-hand sides · ``neural_ode`` an ODE between two affine maps, adaptive solves and their cost ·
``solver_costs`` a solver's own error and stiffness estimates, summed over a solve · ``wrapped_solver`` base of solvers
that add to another one's steps · ``explicit`` Runge-Kutta methods written out, also on the host · ``looped`` with their
stages in a loop · ``fixed_steps`` steps along a grid · ``taylor`` higher time derivatives of a solution ·
``reversible`` exact gradients in constant memory ·
``controlled`` equations driven by a time series · ``maps`` equations as discrete-time systems · ``chaotic`` chaotic
systems · ``attractors`` occupation of state space, spectra · ``model_reduction`` projection and interpolation of an ODE
layer · ``stochastic`` equations with diagonal noise: stable classes, Euler's scheme, Lyapunov exponents ·
``neural_sde`` neural ones that read a time series, ``generative_sde`` that generate one · ``fractional_noise``
fractional Brownian motion, Markov approximations ·
``integral_equations`` equations whose solution depends on itself at all times, Picard's iteration ·
``singular`` equations with singular points · ``elasticity`` large deformations of triangulated bodies ·
``active_matter`` kinetic theory of active rods · ``closures`` of its moment equations · ``homotopy`` paths that end at
a fixed point · ``fixed_points`` layers that are fixed points.
"""
