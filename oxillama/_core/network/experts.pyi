"""Importing this module registers the operations of mixtures of experts; it has nothing for Python."""
