"""Signing keys: created, encrypted, published as a JWKS, rotated."""
