"""The stages that remove candidates; for other compiled modules only, see truncation.pxd."""
