"""Deliberate mistakes that the tests must see: `mistakes.toml` lists them, `make mutations` makes each and looks."""
