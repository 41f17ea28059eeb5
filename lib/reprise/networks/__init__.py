"""Networks as Flax NNX modules, with a functional view: ``mlp``, ``attention``, ``functional``."""
