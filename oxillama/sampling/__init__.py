"""What a caller says about drawing tokens, and the sampler on its own."""
