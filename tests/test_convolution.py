import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.networks.convolution import convolution_matrix, convolve


def test_convolution_is_jaxs_and_the_matrix_is_the_convolution():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
    x = rng.normal(size=(3, 5, 4, 6)).astype(np.float32)
    ours = jax.jit(convolve)(kernel, x)
    layout = ("CHWN", "OIHW", "CHWN")
    theirs = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    matrix = convolution_matrix(kernel, 5, 4)
    np.testing.assert_allclose(matrix @ x.reshape(60, 6), ours.reshape(40, 6), rtol=1e-4, atol=1e-5)
    assert np.count_nonzero(matrix) == 2 * 3 * (3 * 5 - 2) * (3 * 4 - 2)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="odd"):
        convolve(jnp.zeros((1, 1, 2, 2)), jnp.zeros((1, 4, 4, 1)))
