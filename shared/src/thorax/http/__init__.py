"""What the HTTP services share: server, errors as problem details, authentication, OpenAPI, async engines."""
