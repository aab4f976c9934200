"""Addresses as people write them: host:port, [v6]:port."""

from __future__ import annotations

PORT_MAX = 65535


def split_host_port(text: str) -> tuple[str, int]:
    """Split "host:port" or "[v6]:port".

    Returns:
        The host without brackets and the port, 0 to 65535.

    Raises:
        ValueError: the text has no host, no port, or one that is no number in range.
    """
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is not host:port; an IPv6 address stands in brackets")
    if not host or any(char.isspace() or char in "/@" for char in host):
        raise ValueError(f"{text!r} has no host")
    if not (port_text.isascii() and port_text.isdigit()) or int(port_text) > PORT_MAX:
        raise ValueError(f"{text!r} has no port from 0 to {PORT_MAX}")
    return host, int(port_text)


def join_host_port(host: str, port: int) -> str:
    """Write an address; an IPv6 host gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
