"""Semantic blocks: what they are, which words they hold, and the class of every token."""
