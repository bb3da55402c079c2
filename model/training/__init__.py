"""Training: data, presets, and the loop as a generator of events."""
