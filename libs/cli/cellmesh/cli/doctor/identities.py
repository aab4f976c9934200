"""Certificates: how long they last, whether they fit together, who may read the key."""

from __future__ import annotations

import datetime
import stat
from collections.abc import Iterator
from typing import Final

from cellmesh.cli.doctor.finding import Finding, ok, problem, warning
from cellmesh.cli.output import span_text
from cellmesh.common.errors import BadCertBytes, BadCertVerify, NoSuchCert
from cellmesh.common.tls.certs import Certificate, check_issued, from_pem, key_from_pem
from cellmesh.common.tls.folder import KEY_FILE, IdentityFolder

RENEWED_SHARE: Final = 2 / 3
"""A running cell renews its certificate when this part of its life is over."""

LATE_SHARE: Final = 0.8
AUTHORITY_SOON: Final = datetime.timedelta(days=90)
RENEW: Final = (
    "a running cell renews it by itself at its AHA: see whether AHA runs and what the cell's log says of it; "
    "else enroll again with a URL of `cellmesh aha provision`, or `cellmesh cert renew`"
)


def check_identity(
    subject: str, folder: IdentityFolder, *, now: datetime.datetime | None = None
) -> Iterator[Finding]:
    """Look at the identity in a folder."""
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        files = folder.load()
        certificate, authority = from_pem(files.certificate_pem), from_pem(files.authority_pem)
        key = key_from_pem(files.key_pem)
        folder.mesh()
    except NoSuchCert as error:
        yield problem("certificate", subject, error.message, str(error.get("hint") or ""))
        return
    except (BadCertBytes, ValueError) as error:
        yield problem(
            "certificate",
            subject,
            f"the identity in {folder.path} cannot be read: {error}",
            "enroll again with a URL of `cellmesh aha provision`",
        )
        return
    yield _life("certificate", subject, certificate, now)
    yield _authority_life(subject, authority, now)
    if key.public_key() != certificate.public_key():
        yield problem(
            "certificate",
            subject,
            f"the key in {folder.path} is not that of the certificate",
            "put back the key that belongs to it, or enroll again",
        )
    try:
        # In the middle of its life: whether it is over is told above.
        check_issued(certificate, authority, now=_middle(certificate))
    except (BadCertVerify, BadCertBytes) as error:
        yield problem(
            "certificate",
            subject,
            f"the certificate is not of the authority beside it: {error.message}",
            "enroll again: the network's authority is another one",
        )
    mode = stat.S_IMODE((folder.path / KEY_FILE).stat().st_mode)
    if mode & 0o077:
        yield problem(
            "certificate",
            subject,
            f"others may read the key {folder.path / KEY_FILE} (mode {mode:o})",
            f"chmod 600 {folder.path / KEY_FILE}; if others had access, enroll again and revoke this certificate",
        )


def _life(check: str, subject: str, certificate: Certificate, now: datetime.datetime) -> Finding:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        return problem(
            check, subject, f"the certificate ran out {_span(now - end)} ago, on {_day(end)}", RENEW
        )
    if now < begin:
        return problem(
            check,
            subject,
            f"the certificate is valid only from {begin:%Y-%m-%d %H:%M} on",
            "this machine's clock is behind: set it",
        )
    left = f"the certificate is good for {_span(end - now)}, until {_day(end)}"
    if (now - begin) / (end - begin) > LATE_SHARE:
        return warning(check, subject, f"{left}, and should have been renewed by now", RENEW)
    return ok(check, subject, left)


def _authority_life(subject: str, authority: Certificate, now: datetime.datetime) -> Finding:
    end = authority.not_valid_after_utc
    if now >= end:
        return problem(
            "certificate",
            subject,
            f"the network's authority ran out on {_day(end)}",
            "make a new network authority",
        )
    left = f"the network's authority is good until {_day(end)}"
    if end - now < AUTHORITY_SOON:
        return warning("certificate", subject, left, "plan a new authority for the network")
    return ok("certificate", subject, left)


def _middle(certificate: Certificate) -> datetime.datetime:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) / 2


def _span(length: datetime.timedelta) -> str:
    return span_text(length.total_seconds())


def _day(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d}"
