"""Services against real stores and real neighbours, over loopback."""
