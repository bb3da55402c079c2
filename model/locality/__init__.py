"""Locality: the dial, the relevance it acts on, and what is measured of the patterns."""
