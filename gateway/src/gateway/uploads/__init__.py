"""Uploads: receive (bytes become durable), accept (a durable upload becomes a job, once). Nothing decodes an image."""
