import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.solver_costs import CostTracking, accumulated_costs, costs_at, step_costs

MATRIX = np.array([[-0.5, 2.0, 0.0], [-2.0, -0.3, 0.4], [0.2, 0.0, -1.0]])


def field(t, z, scale):
    return jnp.tanh(scale * z @ MATRIX) + jnp.sin(3 * t)


def solve(solver, z0, scale, tolerance=1e-5, **save):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), solver, 0.0, 1.5, 0.8, z0, scale, max_steps=40,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance), **save,
    )  # fmt: skip


def start():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))


def test_step_costs_are_those_of_the_stages_written_out():
    tableau, h, t, z = diffrax.Tsit5.tableau, 0.3, 0.2, np.random.default_rng(1).normal(size=(4, 3))
    f = lambda t, z: np.tanh(1.3 * z @ MATRIX) + np.sin(3 * t)
    stages, slopes = [z], [f(t, z)]
    for row, c in zip(tableau.a_lower, tableau.c, strict=True):
        stages.append(z + h * sum(a * k for a, k in zip(row, slopes, strict=True)))
        slopes.append(f(t + c * h, stages[-1]))
    error = h * sum(e * k for e, k in zip(tableau.b_error, slopes, strict=True))
    stiffness = np.linalg.norm(slopes[-1] - slopes[-2], axis=-1) / np.linalg.norm(stages[-1] - stages[-2], axis=-1)
    with jax.enable_x64(True):
        costs = step_costs(diffrax.Tsit5(), field, t, jnp.asarray(z), h, 1.3)
        np.testing.assert_allclose(costs.error, np.linalg.norm(error, axis=-1), rtol=1e-9)
        np.testing.assert_allclose(costs.stiffness, stiffness, rtol=1e-9)


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Dopri8()])
def test_stiffness_is_the_eigenvalue_of_a_linear_problem(solver):
    with jax.enable_x64(True):
        forced = lambda t, z, eigenvalue: eigenvalue * z + jnp.sin(3 * t)
        costs = step_costs(solver, forced, 0.4, jnp.array([0.7, -0.2]), 0.02, -25.0)
        np.testing.assert_allclose(costs.stiffness, 25, rtol=1e-9)


def test_sums_run_over_the_accepted_steps_and_leave_the_solution_alone():
    with jax.enable_x64(True):
        save = diffrax.SaveAt(t0=True, steps=True, solver_state=True)
        tracked = solve(CostTracking(diffrax.Tsit5(), eps=0.0), start(), 2.0, saveat=save)
        plain = solve(diffrax.Tsit5(), start(), 2.0, saveat=diffrax.SaveAt(t0=True, steps=True))
        steps = int(tracked.stats["num_accepted_steps"])
        assert tracked.stats["num_rejected_steps"] > 0, "the test needs a rejected step"
        assert tracked.stats["num_steps"] == plain.stats["num_steps"]
        np.testing.assert_array_equal(tracked.ys, plain.ys)
        ts, h = plain.ts[:steps], jnp.diff(plain.ts[: steps + 1])
        by_hand = jax.vmap(lambda t, z, h: step_costs(diffrax.Tsit5(), field, t, z, h, 2.0))(ts, plain.ys[:steps], h)
        sums = accumulated_costs(tracked)
        np.testing.assert_allclose(sums.error, jnp.sum(by_hand.error.mean(1) * h), rtol=1e-9)
        np.testing.assert_allclose(sums.stiffness, jnp.sum(by_hand.stiffness.mean(1)), rtol=1e-9)


def test_one_random_step_is_the_sum_in_expectation():
    with jax.enable_x64(True):
        save = diffrax.SaveAt(t0=True, steps=True, solver_state=True)
        tracked = solve(CostTracking(diffrax.Tsit5(), eps=0.0), start(), 2.0, saveat=save)
        steps = int(tracked.stats["num_accepted_steps"])
        at = jax.jit(lambda t: costs_at(diffrax.Tsit5(), field, tracked.ts, tracked.ys, t, 2.0))
        found = [at(t) for t in tracked.ts[:steps]]
        mean = np.mean([costs.error.mean() * h for costs, h in found])
        np.testing.assert_allclose(mean, accumulated_costs(tracked).error / steps, rtol=1e-9)
        # Between two visited times: the state of a fine solve, the size of the step around it.
        t = 0.4 * tracked.ts[2] + 0.6 * tracked.ts[3]
        fine = diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, t, 0.01, start(), 2.0).ys[0]
        costs, h = at(t)
        np.testing.assert_allclose(h, tracked.ts[3] - tracked.ts[2])
        np.testing.assert_allclose(costs.error, step_costs(diffrax.Tsit5(), field, t, fine, h, 2.0).error, rtol=0.02)


def test_gradient_goes_through_the_steps_of_the_solver():
    """Against central differences on the frozen sequence of accepted steps."""
    with jax.enable_x64(True):
        grid = np.asarray(solve(diffrax.Tsit5(), start(), 2.0, saveat=diffrax.SaveAt(t0=True, steps=True)).ts)
        grid = grid[np.isfinite(grid)]

        @jax.jit
        def sums(scale):
            solution = solve(
                CostTracking(diffrax.Tsit5()), start(), scale, saveat=diffrax.SaveAt(t1=True, solver_state=True),
                adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=40),
            )  # fmt: skip
            costs = accumulated_costs(solution)
            return 1e3 * costs.error + costs.stiffness

        def frozen(scale):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field), CostTracking(diffrax.Tsit5()), grid[0], grid[-1], None, start(), scale,
                stepsize_controller=diffrax.StepTo(grid), saveat=diffrax.SaveAt(t1=True, solver_state=True),
            )  # fmt: skip
            costs = accumulated_costs(solution)
            return 1e3 * costs.error + costs.stiffness

        value, slope = jax.value_and_grad(sums)(2.0)
        np.testing.assert_allclose(value, frozen(2.0), rtol=1e-9)
        np.testing.assert_allclose(slope, (frozen(2.0 + 1e-5) - frozen(2.0 - 1e-5)) / 2e-5, rtol=1e-6)


def test_gradient_is_finite_where_the_error_is_zero():
    still = lambda t, z, a: a * jnp.zeros_like(z)
    loss = lambda a: accumulated_costs(diffrax.diffeqsolve(
        diffrax.ODETerm(still), CostTracking(diffrax.Tsit5()), 0.0, 1.0, 0.5, jnp.ones((2, 3)), a, max_steps=4,
        saveat=diffrax.SaveAt(t1=True, solver_state=True),
    ))  # fmt: skip
    assert np.isfinite(jax.grad(lambda a: sum(loss(a)))(1.0))


@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.Kvaerno5(), diffrax.Euler(), diffrax.Bosh3()])
def test_a_solver_without_two_stages_at_the_end_is_refused(solver):
    with pytest.raises(ValueError, match="use Tsit5"):
        CostTracking(solver)
