"""Has nothing for Python: other modules of the core call it."""
