"""A Storm service: who registered a domain, from a table. It knows nothing of Cellmesh but the generated stubs.

python server.py --listen 127.0.0.1:4600
python server.py --listen 127.0.0.1:4600 --cert server.crt --key server.key --ca ca.crt
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.storm_service.v1 import provider_pb2, provider_service_pb2_grpc

DOMAINS = {
    "vertex.link": {"registrar": "Example Names", "created": "2015/12/06", "hosts": ["www", "docs", "mail"]},
    "example.org": {"registrar": "IANA", "created": "1995/08/31", "hosts": ["www"]},
}

ENRICH = """
$service = $lib.service.get($cmdconf.svciden)
$found = $service.lookup($node.value())
if $found {
    [ +#whois ]
    // In braces of its own, so that it adds no nodes to what comes out.
    if $cmdopts.hosts {{
        for $host in $service.hosts($node.value()) { [( inet:fqdn=$host +#whois.host )] }
    }}
} else {
    $lib.warn(`nothing is known of {$node.value()}`)
}
"""

MODULE = """
function registrar(domain) {
    $found = $lib.service.get($modconf.svciden).lookup($domain)
    if $found { return($found.registrar) }
    return($modconf.unknown)
}
"""


def text(value: str) -> value_pb2.Value:
    """Return text as a value."""
    return value_pb2.Value(string_value=value)


def record(fields: dict[str, str]) -> value_pb2.Value:
    """Return a dictionary of texts as a value."""
    entries = [value_pb2.MapEntry(key=key, value=text(value)) for key, value in fields.items()]
    return value_pb2.Value(map_value=value_pb2.MapValue(entries=entries))


PROVIDER = provider_pb2.Provider(
    name="whois",
    version="1.0.0",
    methods=[
        provider_pb2.Method(name="lookup", doc="What is known of a domain; null for nothing."),
        provider_pb2.Method(name="hosts", doc="The hosts of a domain, one after the other.", streams=True),
    ],
    packages=[
        provider_pb2.Package(
            name="whois",
            version="1.0.0",
            commands=[
                provider_pb2.Command(
                    name="whois.enrich",
                    doc="Tag the domains that are known.",
                    storm=ENRICH,
                    arguments=[
                        provider_pb2.Argument(
                            flags=["--hosts"], doc="Add the hosts of the domain too.", action="store_true"
                        )
                    ],
                )
            ],
            modules=[
                provider_pb2.Module(
                    name="whois.lookup", storm=MODULE, settings=record({"unknown": "nobody we know"})
                )
            ],
        )
    ],
    on_added="$lib.globals.set(whois.service, $cmdconf.svciden)",
    on_removed="$lib.globals.pop(whois.service)",
)


class WhoisService(provider_service_pb2_grpc.ProviderServiceServicer):
    """The three methods that every Storm service has."""

    def GetProvider(
        self, request: provider_pb2.GetProviderRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetProviderResponse:
        """Tell what the service is."""
        return provider_pb2.GetProviderResponse(provider=PROVIDER)

    def CallMethod(
        self, request: provider_pb2.CallMethodRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CallMethodResponse:
        """Run a method that gives one value."""
        if request.call.method != "lookup":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {request.call.method}")
        found = DOMAINS.get(domain_of(request.call, context))
        if found is None:
            return provider_pb2.CallMethodResponse()
        known = {name: str(found[name]) for name in ("registrar", "created")}
        return provider_pb2.CallMethodResponse(value=record(known))

    def StreamMethod(
        self, request: provider_pb2.StreamMethodRequest, context: grpc.ServicerContext
    ) -> Iterator[provider_pb2.StreamMethodResponse]:
        """Run a method that gives values one after the other."""
        domain = domain_of(request.call, context)
        for host in DOMAINS.get(domain, {}).get("hosts", ()):
            yield provider_pb2.StreamMethodResponse(values=[text(f"{host}.{domain}")])


def domain_of(call: provider_pb2.Call, context: grpc.ServicerContext) -> str:
    """Return the one argument of a call, given by its place or by its name."""
    given: Any = call.arguments[0] if call.arguments else call.named.get("domain")
    if given is None or given.WhichOneof("kind") != "string_value":
        # Queries get this as BadArg, with the text.
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a domain is text")
    return str(given.string_value)


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description="A Storm service: who registered a domain.")
    parser.add_argument("--listen", default="127.0.0.1:4600", help="HOST:PORT; port 0 for any that is free")
    parser.add_argument("--cert", type=Path, help="certificate, for TLS")
    parser.add_argument("--key", type=Path, help="its key")
    parser.add_argument("--ca", type=Path, help="certificate of the authority that callers are known by")
    given = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    provider_service_pb2_grpc.add_ProviderServiceServicer_to_server(WhoisService(), server)
    if given.cert:
        credentials = grpc.ssl_server_credentials(
            [(given.key.read_bytes(), given.cert.read_bytes())],
            root_certificates=given.ca.read_bytes(),
            require_client_auth=True,
        )
        port = server.add_secure_port(given.listen, credentials)
    else:
        port = server.add_insecure_port(given.listen)
    server.start()
    print(f"listening on port {port}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    server.stop(1).wait()


if __name__ == "__main__":
    # Before any thread starts, so that none of them is ended by a signal instead.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
