"""Importing this module registers the products; it has nothing for Python."""
