# The output has no Python surface.
