# Generation has no Python surface.
