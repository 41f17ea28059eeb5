r"""Programs for a transformer's residual stream: four instructions that layers can carry out, and what they compute.

A sequence's hidden states are a *memory* with one column a position, and a column's entries are divided into named
registers. Four instructions suffice for much of linear algebra, and for each of them there are weights with which one
transformer layer carries it out (Akyürek et al. 2023, section 3 and lemma 1):

- `mov` copies a register to a later column: attention.
- `mul` multiplies two matrices of a column: with $g$ the GELU, $\sqrt{\pi/2}\,[g(x + y) - g(x) - g(y)]$ is $xy$ up to
  terms of fourth order.
- `div` divides by an entry: layer norm.
- `aff` is an affine map of two registers: the linear layers.

>>> program = ridge_round(dim)                                   # eleven instructions for an example
>>> weights = run(program, load(program, x, y, query))           # after 1, 2, ... examples
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# One column a position.
Memory = Float[Array, "*batch time size"]
Column = int | Int[Array, ""]


class Instruction(NamedTuple):
    """A step of a program.

    Attributes:
        kind: ``mov``, ``mul``, ``div`` or ``aff``.
        text: what it computes, in mathtext.
        apply: the memory after it; ``mov`` needs to know the column at work, the others act on all columns alike.
    """

    kind: str
    text: str
    apply: Callable[[Memory, Column], Memory]


class Program(NamedTuple):
    """What is done for every example of a prompt.

    Attributes:
        registers: the part of a column that each name stands for.
        start: instructions before the first example.
        round: instructions for an example, at the column of its label.
        result: the register that holds the answer after a round.
    """

    registers: dict[str, slice]
    start: list[Instruction]
    round: list[Instruction]
    result: str

    @property
    def size(self) -> int:
        """Entries of a column."""
        return max(part.stop for part in self.registers.values())


def mov(memory: Memory, source: Column, target: Column, read: slice, write: slice) -> Memory:
    """Copy a register of column ``source`` to one of column ``target``: causal if source <= target."""
    copied = jax.lax.dynamic_index_in_dim(memory, source, -2)[..., read]
    start = *[0] * (memory.ndim - 2), target, write.start
    return jax.lax.dynamic_update_slice(memory, copied, start)


def mul(memory: Memory, shape: tuple[int, int, int], left: slice, right: slice, write: slice) -> Memory:
    """In every column, the product of an ``a`` by ``b`` and a ``b`` by ``c`` matrix, stored row by row.

    Args:
        memory: before.
        shape: ``(a, b, c)``.
        left: register of the first matrix.
        right: register of the second.
        write: register of the product.
    """
    a, b, c = shape
    batch = memory.shape[:-1]
    product = memory[..., left].reshape(*batch, a, b) @ memory[..., right].reshape(*batch, b, c)
    return _written(memory, write, product.reshape(*batch, a * c))


def div(memory: Memory, numerator: slice, denominator: slice, write: slice) -> Memory:
    """In every column, a register divided by the absolute value of an entry."""
    return _written(memory, write, memory[..., numerator] / jnp.abs(memory[..., denominator]))


def aff(
    memory: Memory, left: slice, right: slice, write: slice, left_map: Float[np.ndarray, "out left"] | float,
    right_map: Float[np.ndarray, "out right"] | float, bias: Float[np.ndarray, " out"] | float = 0.0,
) -> Memory:  # fmt: skip
    """In every column, ``left_map @ left + right_map @ right + bias``; a number for a map multiplies the register."""

    def mapped(matrix, register):
        return memory[..., register] * matrix if np.ndim(matrix) == 0 else memory[..., register] @ matrix.T

    return _written(memory, write, mapped(left_map, left) + mapped(right_map, right) + bias)


def load(
    program: Program, x: Float[Array, "*batch length dim"], y: Float[Array, "*batch length"],
    query: Float[Array, "*batch dim"],
) -> Memory:  # fmt: skip
    """The memory for a prompt: columns $x_1, y_1, x_2, y_2, \\dots, x_q$, everything else zero."""
    *batch, length, _ = x.shape
    memory = jnp.zeros((*batch, 2 * length + 1, program.size), x.dtype)
    inputs = jnp.concatenate([x, query[..., None, :]], -2)
    memory = memory.at[..., ::2, program.registers["x"]].set(inputs)
    return memory.at[..., 1::2, program.registers["y"]].set(y[..., None])


def run(program: Program, memory: Memory) -> Float[Array, "length *batch result"]:
    """Work through a prompt's examples; the result register, at the column at work, after each of them."""
    for instruction in program.start:
        memory = instruction.apply(memory, 0)

    def example(memory, column):
        for instruction in program.round:
            memory = instruction.apply(memory, column)
        return memory, memory[..., column, program.registers[program.result]]

    return jax.lax.scan(example, memory, jnp.arange(1, memory.shape[-2], 2))[1]


def ridge_round(dim: int, penalty: float = 1.0) -> Program:
    r"""Ridge regression, one example at a time by the Sherman-Morrison formula.

    With $P = (\lambda I + \sum_j x_jx_j^\top)^{-1}$ and $b = \sum_j y_jx_j$ over the examples so far, a round is

    $$u = Px,\qquad P \leftarrow P - \frac{uu^\top}{1 + u^\top x},\qquad b \leftarrow b + yx,\qquad w = Pb .$$

    The number of instructions does not depend on ``dim``, the size of a column grows as its square. (Akyürek et al.
    2023, theorem 2.)

    Args:
        dim: entries of an input.
        penalty: $\lambda > 0$.
    """
    if penalty <= 0:
        raise ValueError(f"penalty must be positive, not {penalty}: the program starts from its inverse")
    d, square = dim, dim * dim
    r = _registers(x=d, y=1, P=square, b=d, u=d, s=1, M=square, z=d, w=d)
    inverse = np.eye(d).ravel() / penalty
    state = slice(r["P"].start, r["b"].stop)
    start = [_aff("P = I/λ,\\ b = 0", state, state, state, 0.0, 0.0, np.concatenate([inverse, np.zeros(d)]))]
    return Program(
        r,
        start,
        [
            _mov("x", r["x"], 1),
            _mov("P,\\ b", state, 2),
            _mul("u = P x", (d, d, 1), r["P"], r["x"], r["u"]),
            _mul("s = u^T x", (1, d, 1), r["u"], r["x"], r["s"]),
            _aff("s = s + 1", r["s"], r["s"], r["s"], 1.0, 0.0, 1.0),
            _mul("M = u u^T", (d, 1, d), r["u"], r["u"], r["M"]),
            _div("M = M / s", r["M"], r["s"], r["M"]),
            _aff("P = P - M", r["P"], r["M"], r["P"], 1.0, -1.0),
            _mul("z = y x", (d, 1, 1), r["x"], r["y"], r["z"]),
            _aff("b = b + z", r["b"], r["z"], r["b"], 1.0, 1.0),
            _mul("w = P b", (d, d, 1), r["P"], r["b"], r["w"]),
        ],
        "w",
    )


def descent_round(dim: int, rate: float, penalty: float = 0.0) -> Program:
    r"""Stochastic gradient descent from zero, one step an example on $(w^\top x - y)^2 + \lambda\lVert w\rVert^2$.

    $$w \leftarrow w - 2\alpha\,(x\,(x^\top w - y) + \lambda w)$$

    takes a number of instructions that does not depend on ``dim`` and columns that grow in proportion to it. (Akyürek
    et al. 2023, theorem 1.)

    Args:
        dim: entries of an input.
        rate: $\alpha$.
        penalty: $\lambda$.
    """
    d = dim
    r = _registers(x=d, y=1, w=d, p=1, g=d)
    return Program(
        r,
        [],
        [
            _mov("x", r["x"], 1),
            _mov("w", r["w"], 2),
            _mul("p = x^T w", (1, d, 1), r["x"], r["w"], r["p"]),
            _aff("p = p - y", r["p"], r["y"], r["p"], 1.0, -1.0),
            _mul("g = p x", (d, 1, 1), r["x"], r["p"], r["g"]),
            _aff("g = g + λw", r["g"], r["w"], r["g"], 1.0, penalty),
            _aff("w = w - 2αg", r["w"], r["g"], r["w"], 1.0, -2 * rate),
        ],
        "w",
    )


def _written(memory: Memory, register: slice, values: Float[Array, "*batch time register"]) -> Memory:
    # Not memory.at[...].set: that is a scatter, which takes XLA several times longer to compile.
    return jax.lax.dynamic_update_slice_in_dim(memory, values.astype(memory.dtype), register.start, -1)


def _registers(**sizes: int) -> dict[str, slice]:
    ends = list(accumulate(sizes.values()))
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def _mov(text: str, register: slice, back: int) -> Instruction:
    # The first label has no label before it: its round starts from the first column, which is as it was at the start.
    source = lambda column: jnp.maximum(column - back, 0)
    return Instruction("mov", text, lambda memory, t: mov(memory, source(t), t, register, register))


def _mul(text: str, *arguments) -> Instruction:
    return Instruction("mul", text, lambda memory, _: mul(memory, *arguments))


def _div(text: str, *arguments) -> Instruction:
    return Instruction("div", text, lambda memory, _: div(memory, *arguments))


def _aff(text: str, *arguments) -> Instruction:
    return Instruction("aff", text, lambda memory, _: aff(memory, *arguments))
