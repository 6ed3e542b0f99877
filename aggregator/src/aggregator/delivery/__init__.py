"""Answers on their way to a PACS: which are due, what they say, and the proof that a destination has them."""
