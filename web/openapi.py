"""Writes openapi.json: what gateway and auth-service say of themselves, as one document for the page's client.

Without its prose, so that the client changes when the API does and not when somebody explains it better.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from auth_service import context
from auth_service.app import create_app as auth_app
from auth_service.config import AuthSettings
from gateway.app import create_app as gateway_app
from gateway.config import GatewaySettings
from thorax.http.openapi import merged

HERE = Path(__file__).parent
NOWHERE = SecretStr("postgresql+psycopg://nobody@127.0.0.1/nothing")


PROSE = {"description", "summary", "title", "example", "examples"}


def bare(node: Any, names: bool = False) -> Any:
    """The document without prose; `names` where the keys are names of fields and not OpenAPI's words."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {k: bare(v, k == "properties" and not names) for k, v in node.items() if names or k not in PROSE}


def document() -> dict[str, Any]:
    """Both documents merged. Raises ValueError when they use one name for two schemas."""
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write("x" * 32)
        secret.flush()
        settings = AuthSettings(database_url=NOWHERE, auth_secret_file=Path(secret.name))
        auth = auth_app(context.build(settings))
        return merged(gateway_app(GatewaySettings(database_url=NOWHERE)).openapi(), auth.openapi())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "target", nargs="?", type=Path, default=HERE / "openapi.json", help="the file to write"
    )
    target: Path = parser.parse_args().target
    target.write_text(json.dumps(bare(document()), indent=1, sort_keys=True) + "\n")
