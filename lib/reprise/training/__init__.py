"""Scanned training loops: ``loop`` (gradients of a loss), ``conditions`` (gradients of every example).

``teacher_forcing`` runs a model along data while it is trained; ``background`` compiles and runs beside other work.
"""
