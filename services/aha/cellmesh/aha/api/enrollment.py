"""EnrollmentService: from a one-time token to a certificate. Served where nobody has a certificate yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cellmesh.aha.ca import Authority
from cellmesh.aha.ca.journal import expiry_ms
from cellmesh.aha.directory.instances import timestamp
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.provisioning.enrollments import Enrolled
from cellmesh.aha.provisioning.subjects import cell_subject
from cellmesh.aha.provisioning.tokens import TokenChecker
from cellmesh.api.aha.v1 import enrollment_pb2
from cellmesh.common.auth.context import current_call
from cellmesh.common.auth.denials import Denials
from cellmesh.common.errors import AuthDeny, NeedConfValu
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.tls import certs

Context = Any


class EnrollmentServicer:
    """Serves cellmesh.api.aha.v1.EnrollmentService.

    Args:
        enrollments: Uses up tokens.
        authority: The network's authority.
        workers: Threads for blocking work.
        registry_addresses: Tells where the registry is reached.
        denials: Where refusals are noted.
        tokens: Checks service-account tokens; None where none are taken.
    """

    def __init__(
        self,
        enrollments: Enrollments,
        authority: Authority,
        workers: Workers,
        registry_addresses: Callable[[], tuple[str, ...]],
        denials: Denials,
        tokens: TokenChecker | None = None,
    ) -> None:
        self._enrollments = enrollments
        self._authority = authority
        self._workers = workers
        self._registry_addresses = registry_addresses
        self._denials = denials
        self._tokens = tokens

    async def Enroll(
        self, request: enrollment_pb2.EnrollRequest, context: Context
    ) -> enrollment_pb2.EnrollResponse:
        """See the proto."""
        try:
            enrolled = await self._workers.run(self._enrollments.use, request.token, request.csr_pem)
        except AuthDeny as error:
            self._note_denial(error, context)
            raise
        return self._answer(enrolled)

    async def EnrollByToken(
        self, request: enrollment_pb2.EnrollByTokenRequest, context: Context
    ) -> enrollment_pb2.EnrollByTokenResponse:
        """See the proto."""
        tokens = self._tokens
        if tokens is None:
            raise NeedConfValu(
                "this AHA takes no service-account tokens",
                name="token_keys",
                hint="set token_keys, token_issuer and token_accounts in AHA's settings",
            )
        identity = cell_subject(request.instance, self._authority.network)
        try:
            account = await self._workers.run(tokens.check, request.token, identity)
        except AuthDeny as error:
            self._note_denial(error, context)
            raise
        enrolled = await self._workers.run(
            self._enrollments.use_account, account.text, identity, request.csr_pem
        )
        return enrollment_pb2.EnrollByTokenResponse(enrolled=self._answer(enrolled))

    def _note_denial(self, error: AuthDeny, context: Context) -> None:
        call = current_call()
        self._denials.note(
            actor=str(error.get("username") or ""),
            method=call.method,
            reason=f"{error.name}: {error.message}",
            peer=context.peer(),
            request_id=call.request_id,
        )

    def _answer(self, enrolled: Enrolled) -> enrollment_pb2.EnrollResponse:
        return enrollment_pb2.EnrollResponse(
            certificate_pem=certs.to_pem(enrolled.certificate).decode(),
            ca_pem=self._authority.pem.decode(),
            name=enrolled.identity.name,
            network=self._authority.network,
            registry_addresses=self._registry_addresses(),
            expire_time=timestamp(expiry_ms(enrolled.certificate)),
        )
