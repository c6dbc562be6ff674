"""Nothing of this module is visible from Python; its contract stands in the .pxd."""
