"""Decoding in a child process with limits: the worker is the client, the fork server and its children the server."""
