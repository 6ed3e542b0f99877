"""Access tokens are what they say: every forgery named in docs/reference/tokens.md is refused, by us and by a second library."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.factories.patience import PATIENCE_S

from thorax.errors import Code, CodedError
from thorax.identity import AUDIENCE, JwksCache, Principal, Scope, TokenVerifier

ISSUER = "https://thorax.test/auth"
TENANT = UUID("6a6dd6cf-1b52-4f6f-8c8a-7a3f3ad2b001")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EDWARDS = ed25519.Ed25519PrivateKey.generate()
HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "k1"}


def jwk_of(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(pyjwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


STORE: dict[str, Mapping[str, Any]] = {"k1": jwk_of(KEY, "k1"), "short": jwk_of(SHORT, "short")}


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(ISSUER, AUDIENCE, STORE.get)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u1",
        "jti": uuid4().hex,
        "iat": now,
        "exp": now + 600,
        "tenant": str(TENANT),
        "scope": "studies:read studies:write",
        "kind": "user",
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, body: object, key: rsa.RSAPrivateKey = KEY) -> str:
    """RS256 by hand, so that no library can refuse to make what an attacker would."""
    text = f"{part(header)}.{part(body)}"
    algorithm = pyjwt.algorithms.RSAAlgorithm(pyjwt.algorithms.RSAAlgorithm.SHA256)
    return f"{text}.{part(algorithm.sign(text.encode(), key))}"


def with_hmac(secret: bytes, name: str = "HS256") -> str:
    text = f"{part(HEADER | {'alg': name})}.{part(claims())}"
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def public(encoding: Encoding, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return KEY.public_key().public_bytes(encoding, form)


def edwards() -> str:
    text = f"{part(HEADER | {'alg': 'EdDSA'})}.{part(claims())}"
    return f"{text}.{part(EDWARDS.sign(text.encode()))}"


def tampered() -> str:
    head, _, signature = signed(HEADER, claims()).split(".")
    return f"{head}.{part(claims(scope='admin'))}.{signature}"


def twice(name: str, value: str) -> bytes:
    return json.dumps(claims()).encode()[:-1] + f', "{name}": {value}}}'.encode()


def attacker_jwk(kid: str = "k1") -> dict[str, Any]:
    return HEADER | {"jwk": jwk_of(OTHER, kid), "kid": kid}


def at(seconds: int) -> int:
    """The time in so many seconds."""
    return int(time.time()) + seconds


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{part(HEADER | {'alg': 'none'})}.{part(claims())}.",
    "alg None, capital": lambda: f"{part(HEADER | {'alg': 'None'})}.{part(claims())}.",
    "alg none, signed": lambda: signed(HEADER | {"alg": "none"}, claims()),
    "no alg": lambda: signed({"typ": "at+jwt", "kid": "k1"}, claims()),
    "HS256 with the public key in PEM": lambda: with_hmac(public(Encoding.PEM)),
    "HS256 with the public key in PEM, stripped": lambda: with_hmac(public(Encoding.PEM).strip()),
    "HS256 with the public key in DER": lambda: with_hmac(public(Encoding.DER)),
    "HS256 with the public key in PKCS1": lambda: with_hmac(public(Encoding.DER, PublicFormat.PKCS1)),
    "HS256 with the modulus": lambda: with_hmac(str(STORE["k1"]["n"]).encode()),
    "HS256 called RS256": lambda: with_hmac(public(Encoding.PEM), "RS256"),
    "HS256 with an empty secret": lambda: with_hmac(b""),
    "EdDSA": edwards,
    "RS512 in name": lambda: signed(HEADER | {"alg": "RS512"}, claims()),
    "PS256 in name": lambda: signed(HEADER | {"alg": "PS256"}, claims()),
    "alg as a list": lambda: signed(HEADER | {"alg": ["RS256", "none"]}, claims()),
    "another's key under our kid": lambda: signed(HEADER, claims(), OTHER),
    "claims changed after signing": tampered,
    "signature cut off": lambda: signed(HEADER, claims()).rsplit(".", 1)[0] + ".",
    "no exp": lambda: signed(HEADER, claims(exp=...)),
    "no aud": lambda: signed(HEADER, claims(aud=...)),
    "no iss": lambda: signed(HEADER, claims(iss=...)),
    "no sub": lambda: signed(HEADER, claims(sub=...)),
    "no iat": lambda: signed(HEADER, claims(iat=...)),
    "no jti": lambda: signed(HEADER, claims(jti=...)),
    "no tenant": lambda: signed(HEADER, claims(tenant=...)),
    "no kind": lambda: signed(HEADER, claims(kind=...)),
    "empty sub": lambda: signed(HEADER, claims(sub="")),
    "sub is a number": lambda: signed(HEADER, claims(sub=7)),
    "wrong iss": lambda: signed(HEADER, claims(iss="https://evil.test/auth")),
    "iss as a list": lambda: signed(HEADER, claims(iss=[ISSUER])),
    "wrong aud": lambda: signed(HEADER, claims(aud="elsewhere")),
    "aud is empty": lambda: signed(HEADER, claims(aud=[])),
    "expired": lambda: signed(HEADER, claims(iat=at(-700), exp=at(-100))),
    "nbf in the future": lambda: signed(HEADER, claims(nbf=at(120))),
    "iat in the future": lambda: signed(HEADER, claims(iat=at(120), exp=at(600))),
    "lives for a year": lambda: signed(HEADER, claims(exp=at(31_536_000))),
    "exp is infinite": lambda: signed(
        HEADER, json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": 1e999').encode()
    ),
    "exp is text": lambda: signed(HEADER, claims(exp=str(at(600)))),
    "exp is true": lambda: signed(HEADER, claims(exp=True)),
    "exp is a fraction": lambda: signed(HEADER, claims(exp=at(300) + 0.5)),
    "nbf is null": lambda: signed(HEADER, claims(nbf=None)),
    "NaN": lambda: signed(HEADER, twice("x", "NaN")),
    "a claim twice": lambda: signed(HEADER, twice("scope", '"admin"')),
    "a header twice": lambda: signed(json.dumps(HEADER).encode()[:-1] + b', "kid": "k1"}', claims()),
    "unknown scope": lambda: signed(HEADER, claims(scope="root")),
    "scope as a list": lambda: signed(HEADER, claims(scope=["admin"])),
    "tenant is a path": lambda: signed(HEADER, claims(tenant="../other")),
    "wrong kind": lambda: signed(HEADER, claims(kind="god")),
    "csrf is a list": lambda: signed(HEADER, claims(csrf=["x"])),
    "sid is a number": lambda: signed(HEADER, claims(sid=1)),
    "claims are a list": lambda: signed(HEADER, [1, 2]),
    "claims are text": lambda: signed(HEADER, "admin"),
    "unknown kid": lambda: signed(HEADER | {"kid": "k9"}, claims(), OTHER),
    "no kid": lambda: signed({"alg": "RS256", "typ": "at+jwt"}, claims()),
    "kid is a path": lambda: signed(HEADER | {"kid": "../../dev/null"}, claims()),
    "kid is SQL": lambda: signed(HEADER | {"kid": "x' union select 'k1"}, claims()),
    "kid with a line feed": lambda: signed(HEADER | {"kid": "k1\n"}, claims()),
    "kid is a list": lambda: signed(HEADER | {"kid": ["k1"]}, claims()),
    "kid is empty": lambda: signed(HEADER | {"kid": ""}, claims()),
    "a short key": lambda: signed(HEADER | {"kid": "short"}, claims(), SHORT),
    "jku": lambda: signed(HEADER | {"jku": "https://evil.test/jwks"}, claims(), OTHER),
    "jku, rightly signed": lambda: signed(HEADER | {"jku": "https://evil.test/jwks"}, claims()),
    "x5u": lambda: signed(HEADER | {"x5u": "https://evil.test/cert"}, claims(), OTHER),
    "x5c": lambda: signed(HEADER | {"x5c": [part(b"cert")]}, claims(), OTHER),
    "embedded jwk": lambda: signed(attacker_jwk(), claims(), OTHER),
    "embedded jwk of its own kid": lambda: signed(attacker_jwk("mine"), claims(), OTHER),
    "crit": lambda: signed(HEADER | {"crit": ["exp"]}, claims()),
    "b64 false": lambda: signed(HEADER | {"b64": False, "crit": ["b64"]}, claims()),
    "wrong typ": lambda: signed(HEADER | {"typ": "JWT"}, claims()),
    "no typ": lambda: signed({"alg": "RS256", "kid": "k1"}, claims()),
    "nested: cty": lambda: signed(HEADER | {"cty": "JWT"}, claims()),
    "1 MB of claims": lambda: signed(HEADER, claims(padding="x" * 1_000_000)),
    "1 MB of signature": lambda: signed(HEADER, claims()) + "A" * 1_000_000,
    "1 MB of dots": lambda: "." * 1_000_000,
    "deeply nested header": lambda: f"{part(b'[' * 4000)}.{part(claims())}.AA",
    "deeply nested claims": lambda: signed(HEADER, b'{"a":' * 600 + b"1" + b"}" * 600),
    "JWE": lambda: ".".join(["QUFB"] * 5),
    "not ASCII": lambda: signed(HEADER, claims()) + "é",
    "surrogate": lambda: signed(HEADER, claims()) + "\ud800",
    "not base64": lambda: "!!!.???.###",
    "empty": lambda: "",
    "two dots": lambda: "..",
    "null bytes": lambda: "\0.\0.\0",
}
# What RFC 7519 alone allows and only we refuse: PyJWT, asked with the same options, accepts exactly these.
OURS_ONLY = {
    "jku, rightly signed",
    "a claim twice",
    "a header twice",
    "wrong typ",
    "no typ",
    "nested: cty",
    "lives for a year",
    "exp is text",
    "exp is a fraction",
    "NaN",
    "unknown scope",
    "scope as a list",
    "tenant is a path",
    "wrong kind",
    "csrf is a list",
    "sid is a number",
    "no tenant",
    "no kind",
    "empty sub",
    "1 MB of claims",
    "a short key",
}


def pyjwt_accepts(token: str) -> bool:
    """The second opinion: PyJWT with a key chosen by kid, RS256 only, and the same required claims."""
    try:
        entry = STORE.get(pyjwt.get_unverified_header(token)["kid"])
        if entry is None:
            return False
        pyjwt.decode(
            token,
            pyjwt.PyJWK(dict(entry), "RS256").key,
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "aud", "iss", "sub", "jti"]},
        )
    except (pyjwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True


def refusal(verifier: TokenVerifier, token: str) -> CodedError:
    with pytest.raises(CodedError) as caught:
        verifier.verify(token)
    return caught.value


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused(verifier: TokenVerifier, name: str) -> None:
    token = FORGERIES[name]()
    begun = time.thread_time()
    error = refusal(verifier, token)
    assert time.thread_time() - begun < 0.2
    assert error.code is Code.UNAUTHENTICATED
    assert error.code.status == 401
    assert len(token) < 8 or token[:40] not in str(error)
    assert pyjwt_accepts(token) == (name in OURS_ONLY)


def test_a_good_token_is_the_same_to_both_libraries(verifier: TokenVerifier) -> None:
    expires_at = int(time.time()) + 600
    token = signed(HEADER, claims(csrf="ab" * 32, sid="s1", exp=expires_at))
    principal = verifier.verify(token)
    scopes = frozenset({Scope.STUDIES_READ, Scope.STUDIES_WRITE})
    assert principal == Principal("u1", TENANT, scopes, "user", "ab" * 32, "s1", expires_at)
    assert pyjwt_accepts(token)
    assert "abab" not in repr(principal)


def test_a_token_made_by_pyjwt_is_read(verifier: TokenVerifier) -> None:
    token = pyjwt.encode(claims(kind="client", scope=""), KEY, "RS256", {"kid": "k1", "typ": "at+jwt"})
    assert verifier.verify(token).scopes == frozenset()


def test_clocks_may_differ_by_a_minute_only(verifier: TokenVerifier) -> None:
    now = int(time.time())
    assert verifier.verify(signed(HEADER, claims(iat=now + 55, exp=now + 655)))
    assert verifier.verify(signed(HEADER, claims(iat=now - 300, exp=now - 55)))
    assert verifier.verify(signed(HEADER, claims(nbf=now + 55)))
    assert refusal(verifier, signed(HEADER, claims(iat=now - 300, exp=now - 65)))
    assert refusal(verifier, signed(HEADER, claims(iat=now + 65, exp=now + 600)))
    assert refusal(verifier, signed(HEADER, claims(nbf=now + 65)))


def test_a_key_changed_under_the_same_kid_is_not_confused_with_the_old_one() -> None:
    store = {"k1": jwk_of(KEY, "k1")}
    verifier = TokenVerifier(ISSUER, AUDIENCE, store.get)
    old = signed(HEADER, claims())
    verifier.verify(old)
    store["k1"] = jwk_of(OTHER, "k1")
    refusal(verifier, old)
    verifier.verify(signed(HEADER, claims(), OTHER))


def test_a_token_that_has_passed_is_refused_once_it_expires_or_its_key_is_withdrawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = {"k1": jwk_of(KEY, "k1")}
    verifier, token, now = TokenVerifier(ISSUER, AUDIENCE, store.get), signed(HEADER, claims()), time.time()
    assert verifier.verify(token) == verifier.verify(token)
    monkeypatch.setattr("thorax.identity.time.time", lambda: now + 3600)
    refusal(verifier, token)
    monkeypatch.setattr("thorax.identity.time.time", lambda: now)
    assert verifier.verify(token)
    store.clear()
    refusal(verifier, token)


@pytest.mark.parametrize(
    "change", [{"kty": "oct", "k": "c2VjcmV0"}, {"alg": "HS256"}, {"use": "enc"}, {"e": 5}]
)
def test_a_key_that_is_not_for_rs256_is_not_used(change: dict[str, Any]) -> None:
    verifier = TokenVerifier(ISSUER, AUDIENCE, {"k1": jwk_of(KEY, "k1") | change}.get)
    assert refusal(verifier, signed(HEADER, claims())).code is Code.UNAUTHENTICATED


def test_require_names_the_missing_scope() -> None:
    principal = Principal("u1", TENANT, frozenset({Scope.STUDIES_READ}))
    principal.require(Scope.STUDIES_READ)
    with pytest.raises(CodedError, match="admin") as caught:
        principal.require(Scope.ADMIN)
    assert caught.value.code is Code.FORBIDDEN


class Publisher:
    """An auth-service that can be counted, changed and switched off."""

    def __init__(self, *kids: str) -> None:
        self.kids, self.calls, self.up = list(kids), 0, True

    def __call__(self) -> Mapping[str, Any]:
        self.calls += 1
        if not self.up:
            raise ConnectionError("refused")
        return {"keys": [jwk_of(KEY, kid) for kid in self.kids]}


def test_the_cache_asks_once_for_many_tokens_and_unknown_kids() -> None:
    publisher = Publisher("k1")
    cache = JwksCache(publisher)
    assert not cache.ready
    assert cache("k1")
    assert all(cache(f"guess{i}") is None for i in range(100))
    assert (publisher.calls, cache.ready) == (1, True)


def test_the_cache_finds_a_new_key_and_drops_a_retired_one(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher("k1")
    now = time.monotonic()
    monkeypatch.setattr("thorax.identity.time.monotonic", lambda: now)
    cache = JwksCache(publisher, retry_s=10)
    cache("k1")
    publisher.kids = ["k2"]
    now += 9
    assert cache("k2") is None
    now += 2
    assert cache("k2")
    assert cache("k1") is None


def test_without_any_key_the_cache_asks_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher("k1")
    publisher.up = False
    now = time.monotonic()
    monkeypatch.setattr("thorax.identity.time.monotonic", lambda: now)
    cache = JwksCache(publisher, retry_s=10)
    assert cache("k1") is None
    publisher.up = True
    assert (cache("k1"), publisher.calls) == (None, 1), "not more often"
    now += 1.1
    assert cache("k1")


def test_the_cache_serves_known_keys_while_auth_service_is_down() -> None:
    publisher = Publisher("k1")
    cache = JwksCache(publisher, retry_s=0, max_age_s=0)
    cache("k1")
    publisher.up = False
    assert cache("k1")
    assert publisher.calls == 2
    publisher.kids, publisher.up = [], True
    assert cache("k1"), "an empty answer is a mistake, not a rotation"


def test_a_slow_fetch_does_not_delay_tokens_of_known_keys() -> None:
    asked, gate, publisher = threading.Event(), threading.Event(), Publisher("k1")

    def slow() -> Mapping[str, Any]:
        if publisher.calls:
            asked.set()
            gate.wait(PATIENCE_S)
        return publisher()

    cache = JwksCache(slow, retry_s=0, max_age_s=0)
    cache("k1")
    refresher = threading.Thread(target=cache, args=("k1",))
    refresher.start()
    assert asked.wait(PATIENCE_S)
    assert cache("k1"), "it would hang here"
    assert not gate.is_set() and refresher.is_alive()
    gate.set()
    refresher.join()
