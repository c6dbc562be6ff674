"""Tests of oxillama.adapters."""
