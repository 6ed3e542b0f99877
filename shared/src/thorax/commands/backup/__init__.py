"""Backup: a dump of the database and the blobs by digest, and back from them into an empty platform."""
