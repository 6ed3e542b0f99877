"""Names have one form, passwords a floor, and hashing takes as long for nobody as for somebody."""

import asyncio
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.passwords import Passwords, normal_name, refuse_weak
from thorax.errors import Code, CodedError


@pytest.fixture(scope="module")
def quick() -> Passwords:
    return Passwords(time_cost=1, memory_kib=64)


@pytest.mark.parametrize(
    ("given_name", "normal"),
    [
        ("Ada", "ada"),
        (" ada@X.Example ", "ada@x.example"),
        ("ＡＤＡ", "ada"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("E\u0301mile", "émile"),
        ("a.b+c_d-e@sub.x.example", "a.b+c_d-e@sub.x.example"),
    ],
)
def test_equal_names_have_one_form(given_name: str, normal: str) -> None:
    assert normal_name(given_name) == normal


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "a b",
        "a\nb",
        "ada\x00",
        "a@",
        "@x",
        "a@b@c",
        "a/b",
        "<b>",
        "a" * 65,
        "a@" + "x" * 253,
        "ada\u202e",
    ],
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(CodedError) as caught:
        normal_name(name)
    assert caught.value.code is Code.VALIDATION


@given(st.text(max_size=300))
def test_normalising_twice_changes_nothing(name: str) -> None:
    try:
        once = normal_name(name)
    except CodedError:
        return
    assert normal_name(once) == once


async def test_a_password_matches_itself_in_any_composition(quick: Passwords) -> None:
    stored = await quick.hash("cafe\u0301 au lait, s'il vous plaît")
    assert stored.startswith("$argon2id$")
    assert await quick.matches("café au lait, s'il vous plaît", stored)
    assert not await quick.matches("cafe au lait, s'il vous plait", stored)


async def test_an_unknown_name_matches_no_password(quick: Passwords) -> None:
    assert not await quick.matches("any", None)
    assert not await quick.matches("any", "not a hash")
    assert not await quick.matches("x" * 2000, await quick.hash("x" * 2000))


async def test_old_parameters_are_noticed(quick: Passwords) -> None:
    stored = await quick.hash("correct horse battery")
    assert not quick.outdated(stored)
    assert Passwords(time_cost=2, memory_kib=64).outdated(stored)


async def test_an_unknown_name_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse battery")

    async def seconds(against: str | None) -> float:
        begun = time.process_time()  # of all threads of this process; whatever else runs here does not count
        await passwords.matches("a wrong passphrase", against)
        return time.process_time() - begun

    pairs = [(await seconds(stored), await seconds(None)) for _ in range(5)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.25 < known / unknown < 4


async def test_a_flood_is_refused_and_the_event_loop_goes_on() -> None:
    passwords = Passwords(at_once=1)
    passwords.MAX_OPEN = 4
    stored = await passwords.hash("correct horse battery")
    flood = [asyncio.create_task(passwords.matches("x", stored)) for _ in range(10)]
    ticks = 0
    while not all(task.done() for task in flood):
        await asyncio.sleep(0.005)
        ticks += 1
    refused = [task for task in flood if task.exception() is not None]
    assert len(refused) == 6
    assert {getattr(task.exception(), "code", None) for task in refused} == {Code.OVERLOADED}
    assert ticks > 5, "four hashes on the event loop would have left it four"


def test_the_floor_of_passwords() -> None:
    refuse_weak("twelve chars", "ada")
    for password in ("eleven char", "x" * 1025, "ada.lovelace@x.example", "ADA.LOVELACE"):
        with pytest.raises(CodedError) as caught:
            refuse_weak(password, "ada.lovelace@x.example")
        assert caught.value.code is Code.WEAK_PASSWORD
