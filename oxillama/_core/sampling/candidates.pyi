"""The tokens still in the running; for other compiled modules only, see candidates.pxd."""
