"""The stages that change single logits before anything is cut; for other compiled modules only, see penalties.pxd."""
