"""A common base of solvers that take the steps of another one, and do something with them."""

from __future__ import annotations

import diffrax


class WrappedSolver(diffrax.AbstractAdaptiveSolver, diffrax.AbstractWrappedSolver):
    """Another solver under a new name: what a subclass does not override is that of ``solver``.

    `diffrax.AbstractWrappedSolver` makes Diffrax see the wrapped solver wherever it asks what kind of solver it has;
    the methods themselves it leaves to be written. Here they are passed on, all of them, ``init`` and ``step``
    included. Override ``step`` for what is to be added or done differently, and ``init`` if that needs a state.

    Args:
        solver: any solver with an error estimate.
    """

    solver: diffrax.AbstractSolver

    def __getattr__(self, name):
        if name == "solver" or name.startswith("__"):  # not there yet, as while the instance is made
            raise AttributeError(name)
        return getattr(self.solver, name)

    @property
    def term_structure(self):
        """The terms that the wrapped solver takes."""
        return self.solver.term_structure

    @property
    def term_compatible_contr_kwargs(self):
        """What the wrapped solver asks of its terms' controls."""
        return self.solver.term_compatible_contr_kwargs

    @property
    def interpolation_cls(self):
        """The wrapped solver's dense output."""
        return self.solver.interpolation_cls

    def order(self, terms):
        """The wrapped solver's order of convergence."""
        return self.solver.order(terms)

    def strong_order(self, terms):
        """The wrapped solver's strong order, on stochastic equations."""
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        """The order of the wrapped solver's error estimate."""
        return self.solver.error_order(terms)

    def func(self, terms, t0, y0, args):
        """The right-hand side, as the wrapped solver evaluates it."""
        return self.solver.func(terms, t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        """The wrapped solver's state."""
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """The wrapped solver's step."""
        return self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
