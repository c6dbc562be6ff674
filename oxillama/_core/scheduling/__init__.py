"""Which request computes what in the next step, and the thread that runs the steps."""
