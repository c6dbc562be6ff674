class Constraint:
    """Holds one sequence to a form; made by Cython code, see constraint.pxd. One request takes it over."""
