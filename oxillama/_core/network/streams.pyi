"""Importing this module registers the operations of networks with several streams; it has nothing for Python."""
