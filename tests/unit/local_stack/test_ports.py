"""Servers that start at the same moment do not choose the same port."""

import secrets
from collections.abc import Iterator

import pytest

from local_stack.server import free_port, free_port_from


def test_a_port_is_given_once_also_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    def drawn() -> Iterator[int]:
        yield port - 20_000
        while True:
            yield secrets.SystemRandom().randrange(12_000)

    draws = drawn()
    monkeypatch.setattr(secrets, "randbelow", lambda _most: next(draws))
    assert free_port() != port


def test_a_second_platform_gets_the_next_port_also_before_the_first_uses_its_own() -> None:
    wanted = free_port_from(free_port())
    assert free_port_from(wanted) > wanted
