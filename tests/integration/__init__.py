"""Services with real stores and real other services, over loopback."""
