"""Importing this module registers the products of single heads; it has nothing for Python."""
