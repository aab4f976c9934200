"""How clients check whom they reached, and show who they are: with sources of certificates of their own.

gRPC clients have them in their bootstrap as certificate providers, Envoy as secrets; `cellmesh aha bootstrap` writes both.
A service's instances are known by the URI in their certificates.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

from cellmesh.aha.xds.names import Target
from cellmesh.aha.xds.services import Owner
from cellmesh.common.tls.identity import SCHEME
from cellmesh.common.tls.xds_bootstrap import CERTIFICATE_PROVIDER, IDENTITY_SECRET, TRUST_SECRET
from cellmesh.third_party.xds.v3 import core_pb2, matcher_pb2, tls_pb2

ENVOY = "envoy"
"""What Envoy calls itself, in `user_agent_name`."""


class Flavor(enum.Enum):
    """Whom a resource is for, where that makes a difference."""

    GRPC = "grpc"
    ENVOY = "envoy"

    @classmethod
    def of(cls, user_agent: str) -> Flavor:
        """By what a client calls itself."""
        return cls.ENVOY if user_agent.startswith(ENVOY) else cls.GRPC


def name_matchers(target: Target, owners: Sequence[Owner]) -> list[matcher_pb2.StringMatcher]:
    """What the URI in the certificate of an instance must be: one of these.

    Args:
        target: What is called.
        owners: Whose instances may answer, where no single one is called.
    """
    if target.number:
        return [_matcher(target.network, target.service, target.number)]
    if not owners:
        # A pool without members. No matcher at all would take anybody; this name nobody has.
        return [matcher_pb2.StringMatcher(exact=f"{SCHEME}{target.network}/pool/{target.service}")]
    return [_matcher(target.network, service, number) for service, number in owners]


def _matcher(network: str, service: str, number: str) -> matcher_pb2.StringMatcher:
    begin = f"{SCHEME}{network}/cell/"
    if number:
        return matcher_pb2.StringMatcher(exact=f"{begin}{number}.{service}")
    pattern = f"{re.escape(begin)}[0-9]+[.]{re.escape(service)}"
    return matcher_pb2.StringMatcher(safe_regex=matcher_pb2.RegexMatcher(regex=pattern))


def transport_socket(target: Target, owners: Sequence[Owner], flavor: Flavor) -> core_pb2.TransportSocket:
    """Mutual TLS with the instances of a cluster."""
    wanted = name_matchers(target, owners)
    match flavor:
        case Flavor.GRPC:
            provider = tls_pb2.CertificateProviderPluginInstance(instance_name=CERTIFICATE_PROVIDER)
            context = tls_pb2.CommonTlsContext(
                tls_certificate_provider_instance=provider,
                validation_context=tls_pb2.CertificateValidationContext(
                    ca_certificate_provider_instance=provider, match_subject_alt_names=wanted
                ),
            )
        case Flavor.ENVOY:
            typed = [
                tls_pb2.SubjectAltNameMatcher(san_type=tls_pb2.SubjectAltNameMatcher.URI, matcher=one)
                for one in wanted
            ]
            context = tls_pb2.CommonTlsContext(
                alpn_protocols=["h2"],
                tls_certificate_sds_secret_configs=[tls_pb2.SdsSecretConfig(name=IDENTITY_SECRET)],
                combined_validation_context=tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
                    default_validation_context=tls_pb2.CertificateValidationContext(
                        match_typed_subject_alt_names=typed
                    ),
                    validation_context_sds_secret_config=tls_pb2.SdsSecretConfig(name=TRUST_SECRET),
                ),
            )
    made = core_pb2.TransportSocket(name="envoy.transport_sockets.tls")
    made.typed_config.Pack(tls_pb2.UpstreamTlsContext(common_tls_context=context), deterministic=True)
    return made
