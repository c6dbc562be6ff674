"""Low-rank adapters: their files, what they add to a network, and the table of those that an engine has loaded."""
