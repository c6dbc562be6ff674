ACTIVATIONS: dict[str, int]
"""The numbers of the functions of single values, by name."""
