"""Mixers that carry a state from token to token, as parts of a layer."""
