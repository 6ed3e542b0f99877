"""jose is imported in exactly two files: one that signs, one that verifies."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imports(file: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_jose_is_imported_in_exactly_two_files() -> None:
    sources = [file for service in ROOT.glob("*/src") for file in service.rglob("*.py")]
    assert len(sources) > 30
    users = {file.relative_to(ROOT).as_posix() for file in sources if "jose" in imports(file)}
    assert users == {"shared/src/thorax/identity.py", "auth-service/src/auth_service/tokens.py"}
    others = {"jwt", "joserfc", "authlib"}
    assert not [file for file in sources if imports(file) & others], "no second JWT library in a service"
