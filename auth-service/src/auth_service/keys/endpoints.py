"""The public keys, from which other services verify access tokens."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from auth_service.dependencies import Tx
from thorax.errors import Code
from thorax.http.problems import responses

router = APIRouter(prefix="/auth", tags=["tokens"])


class JsonWebKeySet(BaseModel):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]


@router.get("/.well-known/jwks.json", responses=responses(Code.UNAVAILABLE))
async def get_signing_keys(tx: Tx, response: Response) -> JsonWebKeySet:
    """Get the public keys of access tokens: those that will sign, that sign now, and that signed tokens still valid."""
    tx.app.keyring.signing()  # CodedError(UNAVAILABLE) before the first key
    response.headers["Cache-Control"] = "public, max-age=300"
    return JsonWebKeySet(**tx.app.keyring.jwks())
