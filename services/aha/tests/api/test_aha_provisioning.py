"""Provisioning: free numbers, lists, answers that were lost, cells that start with a URL, service-account tokens."""

from __future__ import annotations

import base64
import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aha_trial import audit_lines, config_of, local, make_url, raised, start_cell
from cellmesh.aha.cell import AhaCell
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.common.cell import running
from cellmesh.common.errors import AuthDeny, BadUrl, CellUnreachable, DupName, NeedConfValu, NoSuchIden
from cellmesh.common.tls import certs
from cellmesh.common.tls.contexts import trusting_credentials
from cellmesh.common.tls.enrollment import PENDING_KEY_FILE, enroll
from cellmesh.common.tls.enrollment_url import EnrollmentUrl, TokenUrl
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.testing.clocks import HeldClock
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

ISSUER = "https://kubernetes.default.svc.cluster.local"


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


def create(aha: AhaCell, **request: Any) -> enrollment_pb2.CreateEnrollmentResponse:
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        return stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**request))


def test_a_service_gets_its_next_free_number(aha: AhaCell, tmp_path: Path) -> None:
    first = create(aha, instance="cortex")
    assert first.name == "00.cortex.demo"
    assert create(aha, instance="cortex.demo").name == "01.cortex.demo"
    enroll(first.url, IdentityFolder(tmp_path / "one"))
    assert create(aha, instance="cortex").name == "02.cortex.demo"
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        stub.DeleteEnrollments(enrollment_pb2.DeleteEnrollmentsRequest(all=True))
    assert create(aha, instance="cortex").name == "01.cortex.demo"
    assert create(aha, instance="aha").name == "01.aha.demo"


def test_enrolments_are_listed_and_deleted(aha: AhaCell, tmp_path: Path) -> None:
    made = {name: create(aha, user=name) for name in ("alice", "bob", "carol")}
    enroll(made["carol"].url, IdentityFolder(tmp_path / "carol"))
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)

        def listed(**wanted: bool) -> dict[str, bool]:
            found = stub.ListEnrollments(enrollment_pb2.ListEnrollmentsRequest(**wanted)).enrollments
            return {item.name: item.HasField("use_time") for item in found}

        assert listed() == {"alice@demo": False, "bob@demo": False, "carol@demo": True}
        assert listed(open_only=True).keys() == {"alice@demo", "bob@demo"}
        request = enrollment_pb2.DeleteEnrollmentsRequest(enrollment_ids=[made["bob"].enrollment_id])
        assert stub.DeleteEnrollments(request).count == 1
        assert isinstance(raised(lambda: stub.DeleteEnrollments(request)), NoSuchIden)
        assert listed(open_only=True).keys() == {"alice@demo"}
    with pytest.raises(AuthDeny, match="not known"):
        enroll(made["bob"].url, IdentityFolder(tmp_path / "bob"))
    assert any("enrollment_deleted bob@demo" in line for line in audit_lines(aha))


def test_a_name_that_is_taken_is_refused_unless_asked_again(aha: AhaCell, tmp_path: Path) -> None:
    with start_cell(aha, tmp_path / "trial"):
        with local(aha) as channel:
            stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
            request = enrollment_pb2.CreateEnrollmentRequest(instance="00.trial")
            assert isinstance(raised(lambda: stub.CreateEnrollment(request)), DupName)
        assert create(aha, instance="00.trial", again=True).name == "00.trial.demo"
        assert create(aha, instance="trial").name == "01.trial.demo"


def test_a_cell_keeps_its_identity_over_restarts(aha: AhaCell, tmp_path: Path) -> None:
    url = make_url(aha, instance="07.trial")
    serials = []
    for _ in range(2):
        with start_cell(None, tmp_path / "trial", enroll=url) as cell:
            assert cell.name == "07.trial.demo"
            serials.append(cell.folder.identity.certificate().serial_number)
    assert serials[0] == serials[1]


def test_an_answer_that_was_lost_is_given_again_to_the_same_key_alone(aha: AhaCell) -> None:
    parsed = EnrollmentUrl.parse(make_url(aha, user="alice"))
    key = certs.make_key()

    def ask(key: certs.PrivateKey) -> enrollment_pb2.EnrollResponse:
        options = (("grpc.ssl_target_name_override", "aha.demo"),)
        with grpc.secure_channel(
            parsed.address, trusting_credentials(aha.authority.pem), options=options
        ) as channel:
            stub = enrollment_service_pb2_grpc.EnrollmentServiceStub(channel)
            csr = certs.make_csr(key).decode()
            return stub.Enroll(enrollment_pb2.EnrollRequest(token=parsed.token, csr_pem=csr))

    first = ask(key)
    # Another signing request of the same key: what counts is the key.
    assert ask(key).certificate_pem == first.certificate_pem
    assert isinstance(raised(lambda: ask(certs.make_key())), AuthDeny)
    aha.enrollments._clock = HeldClock(aha.clock.now() + 11 * 60_000)
    assert isinstance(raised(lambda: ask(key)), AuthDeny)


def test_a_process_that_died_before_the_answer_goes_on_with_its_key(aha: AhaCell, tmp_path: Path) -> None:
    url = make_url(aha, user="alice")
    folder = IdentityFolder(tmp_path / "alice")
    parsed = EnrollmentUrl.parse(url)
    closed = EnrollmentUrl("127.0.0.1", 1, parsed.token, parsed.ca_der).format()
    with pytest.raises(CellUnreachable):
        enroll(closed, folder, timeout_s=0.5)
    kept = (folder.path / PENDING_KEY_FILE).read_bytes()
    with pytest.raises(CellUnreachable):
        enroll(closed, folder, timeout_s=0.5)
    assert (folder.path / PENDING_KEY_FILE).read_bytes() == kept
    enroll(url, folder)
    assert not (folder.path / PENDING_KEY_FILE).exists()


# Service-account tokens.


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return text_of(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Cluster:
    """The keys of a cluster, and the tokens it signs."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def keys(self) -> bytes:
        numbers, point = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        keys = [
            {"kty": "RSA", "kid": "r", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)},
            {
                "kty": "EC",
                "kid": "e",
                "crv": "P-256",
                "x": text_of(point.x.to_bytes(32, "big")),
                "y": text_of(point.y.to_bytes(32, "big")),
            },
            {"kty": "oct", "kid": "s", "k": "c2VjcmV0"},
        ]
        return json.dumps({"keys": keys}).encode()

    def token(self, key_id: str = "r", algorithm: str = "", **changed: Any) -> str:
        claims = {
            "iss": ISSUER,
            "aud": ["cellmesh"],
            "sub": "system:serviceaccount:mesh:cortex",
            "exp": time.time() + 600,
            "iat": time.time(),
            **changed,
        }
        header = {"alg": algorithm or {"r": "RS256", "e": "ES256"}.get(key_id, "RS256"), "kid": key_id}
        signed = f"{text_of(json.dumps(header).encode())}.{text_of(json.dumps(claims).encode())}"
        if key_id == "e":
            r, s = utils.decode_dss_signature(self.ec.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        else:
            signature = self.rsa.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{text_of(signature)}"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def aha_of_cluster(tmp_path: Path, cluster: Cluster) -> Iterator[AhaCell]:
    (tmp_path / "jwks.json").write_bytes(cluster.keys())
    flags = {
        "token_keys": str(tmp_path / "jwks.json"),
        "token_issuer": ISSUER,
        "token_accounts": ("mesh/cortex=*.cortex", "mesh/axon=00.axon", "mesh/trial=*.trial"),
    }
    with running(AhaCell(config_of(tmp_path / "aha", **flags))) as cell:
        yield cell


def token_url(aha: AhaCell, folder: Path, token: str, name: str) -> str:
    (folder / "token").write_text(token)
    return f"cellmesh+token://{aha.enroll_address}/{name}?token={folder}/token&ca={aha.config.dir}/ca/ca.crt"


@pytest.mark.parametrize("key_id", ["r", "e"])
def test_a_service_account_enrols_as_the_cells_it_may_be(
    aha_of_cluster: AhaCell, cluster: Cluster, tmp_path: Path, key_id: str
) -> None:
    url = token_url(aha_of_cluster, tmp_path, cluster.token(key_id), "cortex-3")
    mesh = enroll(url, IdentityFolder(tmp_path / "certs"))
    assert mesh.name == "03.cortex.demo"
    assert IdentityFolder(tmp_path / "certs").identity() == CellIdentity("03", "cortex", "demo")
    lines = audit_lines(aha_of_cluster)
    assert any("account_enrolled 03.cortex.demo system:serviceaccount:mesh:cortex" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "changed", "why"),
    [
        ("00.axon", {}, "may not be"),
        ("01.axon", {"sub": "system:serviceaccount:mesh:axon"}, "may not be"),
        ("00.cortex", {"sub": "system:serviceaccount:other:cortex"}, "may not be"),
        ("00.cortex", {"sub": "alice"}, "no service account"),
        ("00.cortex", {"iss": "https://elsewhere"}, "another cluster"),
        ("00.cortex", {"aud": ["api"]}, "audience"),
        ("00.cortex", {"exp": 1000}, "run out"),
        ("00.cortex", {"exp": None}, "run out"),
        ("00.cortex", {"nbf": 9e9}, "not valid yet"),
        ("00.cortex", {"key_id": "x"}, "does not have"),
        ("00.cortex", {"key_id": "s", "algorithm": "HS256"}, "does not have"),
        ("00.cortex", {"algorithm": "none"}, "is not taken"),
        ("00.cortex", {"algorithm": "ES256"}, "is not taken"),
    ],
)
def test_a_token_that_does_not_fit_is_refused(
    aha_of_cluster: AhaCell, cluster: Cluster, tmp_path: Path, name: str, changed: dict[str, Any], why: str
) -> None:
    folder = IdentityFolder(tmp_path / "certs")
    with pytest.raises(AuthDeny, match=why):
        enroll(token_url(aha_of_cluster, tmp_path, cluster.token(**changed), name), folder)
    assert not folder.path.exists()


def test_a_forged_token_is_refused_and_noted(
    aha_of_cluster: AhaCell, cluster: Cluster, tmp_path: Path
) -> None:
    header, claims, signature = cluster.token().split(".")
    other = Cluster().token()
    for token in (other, f"{header}.{other.split('.')[1]}.{signature}", f"{header}.{claims}.", "a.b.c", "x"):
        with pytest.raises(AuthDeny):
            enroll(token_url(aha_of_cluster, tmp_path, token, "00.cortex"), IdentityFolder(tmp_path / "c"))
    end = time.monotonic() + 3
    while not any("signature is wrong" in line for line in audit_lines(aha_of_cluster)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_keys_come_from_a_url_and_new_ones_are_found(cluster: Cluster, tmp_path: Path) -> None:
    served = [Cluster().keys()]
    asked: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served[-1])

        def log_message(self, *args: object) -> None:
            pass

    from cellmesh.aha.provisioning import tokens

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "own-token").write_text("abc\n")
        settings = tokens.TokenSettings(
            f"http://127.0.0.1:{server.server_port}/jwks",
            ISSUER,
            "cellmesh",
            (tokens.AccountRule.parse("mesh/cortex=*.cortex"),),
            keys_token=tmp_path / "own-token",
        )
        checker = tokens.TokenChecker(settings)
        identity = CellIdentity("00", "cortex", "demo")
        with pytest.raises(AuthDeny, match="signature is wrong"):
            checker.check(cluster.token(), identity)
        served.append(cluster.keys())
        # The key id is known, so nothing is fetched before the keys are old.
        with pytest.raises(AuthDeny, match="signature is wrong"):
            checker.check(cluster.token(), identity)
        checker._fetched_s -= tokens.KEYS_KEEP_S
        assert checker.check(cluster.token(), identity).text == "system:serviceaccount:mesh:cortex"
        assert asked == ["Bearer abc"] * 2
        server.shutdown()


def test_a_cell_starts_with_a_token(aha_of_cluster: AhaCell, cluster: Cluster, tmp_path: Path) -> None:
    token = cluster.token(sub="system:serviceaccount:mesh:trial")
    url = token_url(aha_of_cluster, tmp_path, token, "trial-1")
    with start_cell(None, tmp_path / "trial", enroll=url) as cell:
        assert cell.name == "01.trial.demo"


def test_an_aha_without_keys_takes_no_tokens(aha: AhaCell, cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(NeedConfValu):
        enroll(token_url(aha, tmp_path, cluster.token(), "00.cortex"), IdentityFolder(tmp_path / "c"))


def test_a_token_url_is_read() -> None:
    url = TokenUrl.parse("cellmesh+token://aha:27492/my-axon-12?token=/t&ca=/c")
    assert (url.address, url.instance, str(url.token_path), str(url.authority_path)) == (
        "aha:27492",
        "12.my-axon",
        "/t",
        "/c",
    )
    assert str(TokenUrl.parse("cellmesh+token://aha:1/00.axon").token_path).startswith("/var/run/secrets")
    for wrong in ("cellmesh+token://aha/00.axon", "cellmesh+token://aha:1", "cellmesh+token://aha:1/a?x=1"):
        with pytest.raises(BadUrl):
            TokenUrl.parse(wrong)
