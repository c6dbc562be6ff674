"""Aids for testing this library and the applications that embed it; never imported by ``import oxillama``."""
