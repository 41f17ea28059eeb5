"""Compiling and running one program while the next is being traced."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import jax


def start(pool: Executor, function: Callable, *arguments: Any, double: bool = False, effort: int = 2) -> Future:
    """Trace a function now, in this thread; compile it and run it in the background.

    Tracing is Python's work and gains nothing from threads; XLA compiles and runs outside it.

    Args:
        pool: where to compile and run, such as a `concurrent.futures.ThreadPoolExecutor`.
        function: of JAX arrays; jitted here, if it is not yet.
        arguments: its arguments.
        double: trace and run in double precision, which is otherwise a setting of each thread.
        effort: XLA's optimisation level. At 1 a program compiles in less time and runs about as fast on a CPU, at 0 in
            half the time, but three times slower: for programs that hardly run.

    Returns:
        The future result, as NumPy arrays.
    """
    with jax.enable_x64(double):
        traced = jax.jit(function).lower(*arguments)

    options = None if effort == 2 else {"xla_backend_optimization_level": effort}

    def finish():
        with jax.enable_x64(double):
            return jax.device_get(traced.compile(options)(*arguments))

    return pool.submit(finish)
