"""The HTTP side of auth-service, all of it under /auth. Endpoints translate; services decide."""

from fastapi import APIRouter

from auth_service.endpoints import account, clients, page, token, users

router = APIRouter(prefix="/auth")
for room in (token, page, account, clients, users):
    router.include_router(room.router)
router.include_router(users.tenants)
