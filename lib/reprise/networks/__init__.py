"""Networks as Flax NNX modules, with a functional view.

``mlp``, ``committee``, ``attention``, ``attention_flow``, ``functional``, ``linearize``, ``cells``, ``task_vectors``,
``recurrent``, ``feedback``, ``parametrizations``, ``two_layer_linear``, ``prefix_attention``, ``attention_head``,
``transformer``, ``token_programs``, ``sequence_to_sequence``, ``grid_recurrence``, ``linear_recurrence``,
``piecewise_linear_rnn``, ``convolution``, ``positions``, ``latent_tokens`` (appended to a cache), ``constitutive``,
``message_passing``, ``low_rank`` (adapters).
"""
