"""Scanned training loops: ``loop`` (gradients of a loss), ``conditions`` (gradients of every example)."""
