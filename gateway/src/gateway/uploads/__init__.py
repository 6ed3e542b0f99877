"""Intake: bytes from outside become durable instances. Nothing in here decodes an image."""
