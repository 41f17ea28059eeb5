"""Synthetic tasks with known answers.

``linear_regression`` (prompts), ``condensed_prompts``, ``prompt_spectra``, ``single_index``, ``binary_inputs``,
``word_analogies``, ``token_selection``, ``arrow_pointing``,
``boolean_functions`` (conjunctions, parities), ``planar`` (hulls, tours),
``irregular_series`` (with missing values), ``markov_mixture``.
"""
