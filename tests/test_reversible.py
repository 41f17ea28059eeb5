import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.reversible import ReversibleAdjoint

MATRIX = np.array([[-0.5, 2.0], [-2.0, -0.3]])
TIMES = np.array([0.0, 0.1, 0.15, 0.4, 0.55, 0.7, 0.75, 1.0])


def field(t, y, args):
    return {"a": jnp.tanh(args @ y["a"]) * jnp.cos(t) + y["b"], "b": -y["b"] + jnp.sin(y["a"].sum())}


def start():
    return {"a": jnp.array([0.3, -0.8]), "b": jnp.array(0.5)}


def weighted(ys):
    """A scalar that depends on every saved number, the unused places of the buffer (inf) left out."""
    return sum(
        jnp.sum(jnp.where(jnp.isinf(leaf), 0.0, leaf) * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape))
        for leaf in jax.tree.leaves(ys)
    )


@pytest.mark.parametrize("save", [{"t1": True}, {"t0": True, "steps": True}])
def test_ode_gradients_are_those_of_backpropagation(save):
    def loss(differentiable, adjoint):
        y0, args = differentiable
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.ReversibleHeun(), 0.0, 1.0, None, y0, args, max_steps=10,
            stepsize_controller=diffrax.StepTo(TIMES), adjoint=adjoint, saveat=diffrax.SaveAt(**save),
        )  # fmt: skip
        return weighted(solution.ys)

    with jax.enable_x64(True):
        at = start(), jnp.asarray(MATRIX)
        value, reversible = jax.jit(jax.value_and_grad(lambda at: loss(at, ReversibleAdjoint())))(at)
        plain, stored = jax.jit(jax.value_and_grad(lambda at: loss(at, diffrax.RecursiveCheckpointAdjoint())))(at)
        np.testing.assert_allclose(value, plain, rtol=1e-14)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), reversible, stored)


def test_controls_and_adaptive_steps_and_vmap():
    """Gradients also reach a control's own arrays, and the steps may be a controller's choice."""

    def loss(path, y0, adjoint):
        control = diffrax.CubicInterpolation(TIMES, diffrax.backward_hermite_coefficients(TIMES, path))
        term = diffrax.ControlTerm(lambda t, y, args: jnp.outer(jnp.tanh(y), jnp.array([1.0, t])), control).to_ode()
        solution = diffrax.diffeqsolve(
            term, diffrax.ReversibleHeun(), 0.0, 1.0, 0.05, y0, max_steps=200, adjoint=adjoint,
            stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-4),
        )  # fmt: skip
        return weighted(solution.ys), solution.stats["num_rejected_steps"]

    gradient = lambda adjoint: jax.jit(
        jax.vmap(jax.grad(lambda p, y: loss(p, y, adjoint), (0, 1), has_aux=True), (None, 0))
    )
    with jax.enable_x64(True):
        path = jnp.stack([jnp.sin(5 * TIMES), jnp.cos(4 * TIMES) * TIMES], 1)
        y0 = jnp.array([[0.3, -0.8], [1.3, 0.1]])
        reversible, rejected = gradient(ReversibleAdjoint())(path, y0)
        stored, _ = gradient(diffrax.RecursiveCheckpointAdjoint())(path, y0)
        assert np.all(rejected > 0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), reversible, stored)


def test_stochastic_equations_rebuild_their_noise():
    def loss(scale, adjoint):
        noise = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, (2,), jax.random.key(0))
        drift = diffrax.ODETerm(lambda t, y, scale: -scale * y)
        diffusion = diffrax.ControlTerm(lambda t, y, scale: scale * jnp.diag(jnp.cos(y)), noise)
        solution = diffrax.diffeqsolve(
            diffrax.MultiTerm(drift, diffusion), diffrax.ReversibleHeun(), 0.0, 1.0, 0.05, jnp.ones(2), scale,
            adjoint=adjoint, max_steps=30,
        )  # fmt: skip
        return weighted(solution.ys)

    with jax.enable_x64(True):
        reversible, stored = (
            jax.jit(jax.grad(lambda s, a=a: loss(s, a)))(jnp.array(0.7))
            for a in (ReversibleAdjoint(), diffrax.RecursiveCheckpointAdjoint())
        )
        np.testing.assert_allclose(reversible, stored, rtol=1e-10)


def test_memory_does_not_grow_with_the_number_of_steps():
    def loss(y0, adjoint, steps):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jnp.sin(y)), diffrax.ReversibleHeun(), 0.0, 1.0, 1 / steps, y0,
            adjoint=adjoint, max_steps=steps,
        )  # fmt: skip
        return solution.ys.sum()

    def memory(adjoint, steps):
        program = jax.jit(jax.grad(lambda y: loss(y, adjoint, steps))).lower(jnp.ones(1000)).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert memory(ReversibleAdjoint(), 400) < 1.2 * memory(ReversibleAdjoint(), 50)
    direct = [memory(diffrax.RecursiveCheckpointAdjoint(checkpoints=n), n) for n in (50, 400)]
    assert direct[1] > 4 * direct[0]


def test_what_it_refuses():
    solve = lambda solver=diffrax.ReversibleHeun(), **named: diffrax.diffeqsolve(  # noqa: B008
        diffrax.ODETerm(lambda t, y, args: y), solver, 0.0, 1.0, 0.1, 1.0, adjoint=ReversibleAdjoint(), **named
    )
    with pytest.raises(ValueError, match="not Heun"):
        solve(diffrax.Heun())
    with pytest.raises(ValueError, match="nothing else"):
        solve(saveat=diffrax.SaveAt(ts=[0.5]))
    with pytest.raises(ValueError, match="max_steps"):
        solve(max_steps=None)
