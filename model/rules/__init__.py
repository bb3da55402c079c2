"""Rules as data: what they say, when they fire, what they do to relevance, and checkers of text."""
