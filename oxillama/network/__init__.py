"""Networks as data: the graph that an architecture describes, its operations, and the program they become."""
