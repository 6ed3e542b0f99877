"""The HTTP side of auth-service, all of it under /auth. Endpoints translate; services decide.

Each router has its whole prefix, as a route's `path`, which metrics and `Allow` go by, knows no other.
"""

from auth_service.endpoints import account, clients, page, token, users

routers = (token.router, page.router, account.router, clients.router, users.router, users.tenants)
