"""Embedding objects of other libraries."""
