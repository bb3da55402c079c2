"""Second ways to the same numbers, written for clarity, sharing no code with the model."""
