"""Keys, signing requests and certificates: made, issued, read. Nothing here touches a file.

Keys are ECDSA P-256: small, fast to verify, and known to every TLS library. Certificates start a little in
the past, so that clocks that differ by minutes do no harm.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from typing import Final

from cellmesh.common.errors import BadCertBytes, BadCertVerify
from cellmesh.common.tls.identity import SCHEME, CellIdentity, Identity, check_label, identity_of_names
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
Certificate = x509.Certificate

CLOCK_SKEW: Final = datetime.timedelta(minutes=5)
AUTHORITY_LIFETIME: Final = datetime.timedelta(days=3650)
CERTIFICATE_LIFETIME: Final = datetime.timedelta(days=90)
LOCAL_DNS_NAME: Final = "localhost"
LOCAL_ADDRESSES: Final = ("127.0.0.1", "::1")


def make_key() -> PrivateKey:
    """Make a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey) -> bytes:
    """Write a private key, PKCS#8, not encrypted: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> PrivateKey:
    """Read a private key. Raises BadCertBytes."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise BadCertBytes("this is no private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertBytes("only elliptic-curve keys are used")
    return key


def make_csr(key: PrivateKey, identity: Identity | None = None) -> bytes:
    """Make a signing request, PEM. The name in it is a courtesy: the authority decides the name."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)] if identity else [])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def csr_public_key(pem: bytes) -> PublicKey:
    """Read a signing request, check that its sender holds the key, and return the public key.

    Raises:
        BadCertBytes: it cannot be read, is not signed by its key, or the key is of another kind.
    """
    try:
        csr = x509.load_pem_x509_csr(pem)
        valid = csr.is_signature_valid
        key = csr.public_key()
    except (ValueError, TypeError) as error:
        raise BadCertBytes("this is no certificate signing request") from error
    if not valid:
        raise BadCertBytes("the signing request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        raise BadCertBytes("only keys on P-256 and P-384 are certified")
    return key


def make_authority(
    network: str,
    *,
    lifetime: datetime.timedelta = AUTHORITY_LIFETIME,
    now: datetime.datetime | None = None,
) -> tuple[Certificate, PrivateKey]:
    """Make the certificate authority of a network: a self-signed certificate and its key."""
    check_label(network, "network")
    now = now or _now()
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Cellmesh authority of {network}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SCHEME + network)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def issue(
    authority: Certificate,
    authority_key: PrivateKey,
    public_key: PublicKey,
    identity: Identity,
    *,
    lifetime: datetime.timedelta = CERTIFICATE_LIFETIME,
    now: datetime.datetime | None = None,
    hosts: Iterable[str] = (),
) -> Certificate:
    """Issue a certificate for an identity. It never outlives its authority.

    A cell's holds for further hosts too: DNS names and IP addresses under which clients reach it that know no other names.
    """
    now = now or _now()
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if isinstance(identity, CellIdentity):
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names += [x509.DNSName(name) for name in (*identity.dns_names, LOCAL_DNS_NAME)]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in LOCAL_ADDRESSES]
        names += [_host_name(host) for host in hosts if host not in (LOCAL_DNS_NAME, *LOCAL_ADDRESSES)]
    authority_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCK_SKEW, authority.not_valid_before_utc))
        .not_valid_after(min(now + lifetime, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def to_pem(certificate: Certificate) -> bytes:
    """Write a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def to_der(certificate: Certificate) -> bytes:
    """Write a certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def public_key_hash(key: PublicKey) -> bytes:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER)."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize()


def serial_text(certificate: Certificate) -> str:
    """The serial number of a certificate as it is written everywhere: hexadecimal, lower case."""
    return f"{certificate.serial_number:x}"


def from_pem(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM text. Raises BadCertBytes."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise BadCertBytes("this is no certificate") from error


def from_der(der: bytes) -> Certificate:
    """Read a DER certificate. Raises BadCertBytes."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise BadCertBytes("this is no certificate") from error


def identity_of_certificate(certificate: Certificate) -> Identity | None:
    """Read whose certificate this is, None when it names no cell or user of ours."""
    return identity_of_names(_uris(certificate))


def network_of_authority(certificate: Certificate) -> str:
    """Read which network an authority is of. Raises BadCertBytes when it names none."""
    for uri in _uris(certificate):
        network = uri.removeprefix(SCHEME)
        if uri.startswith(SCHEME) and "/" not in network:
            check_label(network, "network")
            return network
    raise BadCertBytes("the certificate is not that of a Cellmesh authority: it names no network")


def check_issued(
    certificate: Certificate, authority: Certificate, *, now: datetime.datetime | None = None
) -> None:
    """Check that a certificate was issued by an authority and holds now.

    Raises:
        BadCertVerify: it was not, or it is over or not yet valid.
    """
    now = now or _now()
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise BadCertVerify("the certificate was not issued by this authority") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise BadCertVerify(
            "the certificate is not valid at this time",
            name=certificate.subject.rfc4514_string(),
            ends=certificate.not_valid_after_utc.isoformat(),
        )


def hosts_of_certificate(certificate: Certificate) -> frozenset[str]:
    """The DNS names and IP addresses that a certificate holds for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset((*names.get_values_for_type(x509.DNSName), *map(str, addresses)))


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _uris(certificate: Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
