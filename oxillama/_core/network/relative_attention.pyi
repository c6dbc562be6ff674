"""Importing this module registers attention with learned biases; it has nothing for Python."""
