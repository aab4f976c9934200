"""`cellmesh cert`: certificates without an AHA, in a folder."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.common.tls import certs
    from cellmesh.common.tls.offline import OfflineAuthority

_ca_option = click.option(
    "--ca",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the authority: ca.key and ca.crt. That of an AHA, DIR/ca, is one too.",
)
_days_option = click.option(
    "--days", type=click.IntRange(1, 36500), default=90, show_default=True, help="For how long it is valid."
)


@click.group()
def cert() -> None:
    """Certificates of a network, made and looked at offline.

    A mesh with an AHA needs none of this: AHA issues, renews and revokes. This is for networks without one, for looking
    at what is in a folder, and for repairs.

    \b
    cellmesh cert init demo --ca ca                       an authority for the network demo
    cellmesh cert issue 00.axon --ca ca --out axon/certs  key and certificate of a cell
    cellmesh cert issue alice@demo --ca ca --csr alice.csr --out alice.crt
    cellmesh cert renew axon/certs --ca ca
    cellmesh cert revoke alice@demo --ca ca
    """


@cert.command()
@click.argument("network")
@_ca_option
@click.option(
    "--days", type=click.IntRange(1, 36500), default=3650, show_default=True, help="For how long it is valid."
)
def init(network: str, ca: Path, days: int) -> None:
    """Make the authority of a network. Its key stays in the folder; keep that as secret as a password."""
    from cellmesh.common.tls.offline import OfflineAuthority

    made = OfflineAuthority.make(_path(ca), network, lifetime=datetime.timedelta(days=days))
    click.echo(f"the authority of {made.network} is in {made.folder}")


@cert.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for key and request.")
def request(name: str, out: Path) -> None:
    """Make a key and a signing request, where the key is to be: cell.key and cell.csr.

    NAME is for people who read the request; the authority decides the name. Put the certificate beside the key as
    cell.crt, and the authority's as ca.crt.
    """
    from cellmesh.common.errors import FileExists
    from cellmesh.common.files import write_atomically
    from cellmesh.common.tls import certs
    from cellmesh.common.tls.folder import KEY_FILE
    from cellmesh.common.tls.identity import parse_name

    folder = _path(out)
    if (folder / KEY_FILE).exists():
        raise FileExists(f"there is a key in {folder} already", name=str(folder))
    identity = parse_name(name)
    key = certs.make_key()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / KEY_FILE, certs.key_to_pem(key), mode=0o600)
    write_atomically(folder / "cell.csr", certs.make_csr(key, identity))
    click.echo(f"the request is {folder / 'cell.csr'}")


@cert.command()
@click.argument("name")
@_ca_option
@_days_option
@click.option(
    "--csr",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Signing request of a key that is elsewhere. Without it the key is made here.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="With --csr the file for the certificate; else the folder for the whole identity.",
)
@click.option(
    "--registry",
    multiple=True,
    metavar="HOST:PORT",
    help="Where AHA is, noted in the identity. May be repeated.",
)
def issue(name: str, ca: Path, days: int, csr: Path | None, out: Path, registry: tuple[str, ...]) -> None:
    """Issue a certificate to a cell, such as 00.axon, or to a user, such as alice@demo."""
    from cellmesh.common.files import write_atomically
    from cellmesh.common.tls import certs
    from cellmesh.common.tls.folder import IdentityFolder

    authority = _open(ca)
    identity, lifetime = authority.subject(name), datetime.timedelta(days=days)
    if csr is not None:
        made = authority.issue(identity, csr.read_bytes(), lifetime)
        write_atomically(_path(out), certs.to_pem(made))
    else:
        folder = IdentityFolder(_path(out))
        made = authority.issue_folder(identity, folder, lifetime=lifetime, registry_addresses=registry)
    click.echo(f"{identity.name} has the certificate {certs.serial_text(made)} until {_end(made)}")


@cert.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_ca_option
@_days_option
def renew(folder: Path, ca: Path, days: int) -> None:
    """Give the identity in a folder a new key and certificate of the same name.

    A cell that runs serves it to its next connection.
    """
    from cellmesh.common.errors import NoSuchCert
    from cellmesh.common.tls import certs
    from cellmesh.common.tls.folder import IdentityFolder

    authority, found = _open(ca), IdentityFolder(_path(folder))
    identity = found.identity()
    if identity is None:
        raise NoSuchCert(f"there is no identity in {found.path}", name=str(found.path))
    made = authority.issue_folder(
        authority.subject(identity.name), found, lifetime=datetime.timedelta(days=days)
    )
    click.echo(f"{identity.name} has the certificate {certs.serial_text(made)} until {_end(made)}")


@cert.command("list")
@_ca_option
@click.option("--valid", is_flag=True, help="Only those that are neither over nor revoked.")
@json_option
def list_certificates(ca: Path, valid: bool) -> None:
    """List what was issued with this command. An AHA lists its own: `cellmesh aha certs`."""
    import time

    from cellmesh.cli.output import table

    authority = _open(ca)
    revoked, now_ms = authority.revoked(), time.time_ns() // 1_000_000
    rows, records = [], []
    for item in authority.issued():
        state = "revoked" if item.serial in revoked else "over" if item.expire_ms <= now_ms else "valid"
        if state == "valid" or not valid:
            end = datetime.datetime.fromtimestamp(item.expire_ms / 1000, datetime.UTC)
            rows.append((item.name, item.serial, f"{end:%Y-%m-%d %H:%M}", state))
            records.append(
                {"name": item.name, "serial": item.serial, "expire_time": end.isoformat(), "state": state}
            )
    if echo_records(records):
        return
    click.echo(table(("NAME", "SERIAL", "ENDS", "STATE"), rows))


@cert.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@json_option
def show(path: Path) -> None:
    """Show a certificate: a PEM file, or the one in an identity folder."""
    from cellmesh.common.tls import certs

    found = _read(path)
    identity = certs.identity_of_certificate(found)
    record = {
        "name": identity.name if identity else found.subject.rfc4514_string(),
        "uri": identity.uri if identity else None,
        "serial": certs.serial_text(found),
        "begin_time": found.not_valid_before_utc.isoformat(),
        "expire_time": found.not_valid_after_utc.isoformat(),
        "issuer": found.issuer.rfc4514_string(),
        "dns_names": list(identity.dns_names) if identity else [],
    }
    if echo_records([record]):
        return
    for label, text in (
        ("name", identity.name if identity else found.subject.rfc4514_string()),
        ("uri", identity.uri if identity else "-"),
        ("serial", certs.serial_text(found)),
        ("begins", f"{found.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"),
        ("ends", _end(found)),
        ("issuer", found.issuer.rfc4514_string()),
        ("dns", ", ".join(identity.dns_names) if identity and identity.dns_names else "-"),
    ):
        click.echo(f"{label:8}{text}")


@cert.command()
@click.argument("target")
@_ca_option
@click.option("--reason", default="", help="Why, for the record.")
def revoke(target: str, ca: Path, reason: str) -> None:
    """Revoke a certificate by its serial number, or all of a cell or user by name.

    It is noted in revoked.json of the authority's folder. Cells of a network without AHA know it once that file is in
    their folder certs, from their next start. In a mesh with AHA: `cellmesh aha revoke`.
    """
    done = _open(ca).revoke(target, reason)
    for item in done:
        click.echo(f"revoked {item.serial} of {item.name}")
    if not done:
        click.echo("revoked already")


@cert.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@_ca_option
def verify(path: Path, ca: Path) -> None:
    """Check a certificate: issued by this authority, valid now, not revoked. Exit code 1 when it is not."""
    identity = _open(ca).verify(_read(path))
    click.echo(f"the certificate of {identity.name} is good")


def _open(ca: Path) -> OfflineAuthority:
    from cellmesh.common.tls.offline import OfflineAuthority

    return OfflineAuthority(_path(ca))


def _read(path: Path) -> certs.Certificate:
    from cellmesh.common.tls import certs
    from cellmesh.common.tls.folder import CERTIFICATE_FILE

    return certs.from_pem((path / CERTIFICATE_FILE if path.is_dir() else path).read_bytes())


def _path(path: Path) -> Path:
    return path.expanduser().absolute()


def _end(certificate: certs.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
