# The executor has no Python surface.
