"""The science: transformer, blocks, locality, training. No user interface, no figures."""
