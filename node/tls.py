"""TLS by PEM files (PS3.15, B.9 and BCP 195: TLS 1.2 or later), for both directions."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from .settings import TlsSettings


def _none() -> str:
    """A key's password: none. OpenSSL would ask a terminal for an encrypted one's, and wait."""
    return ""


class LateHandshake(ssl.SSLContext):
    """A TLS context whose server side shakes hands in the connection's own thread."""

    def wrap_socket(self, sock: Any, server_side: bool = False, **more: Any) -> ssl.SSLSocket:  # type: ignore[override]
        """As ssl's, but that reading the first byte does the handshake, within its timeout."""
        if server_side:
            more["do_handshake_on_connect"] = False
        return super().wrap_socket(sock, server_side=server_side, **more)


def server_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """For senders; with a CA they must show a certificate. None: no TLS. Raises OSError."""
    if not tls.certificate:
        return None
    context = LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key, password=_none)
    if tls.ca:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    tls: TlsSettings, failed: Callable[[str], None] | None = None
) -> ssl.SSLContext | None:
    """For destinations, whose certificate and host name are checked. None: no TLS.

    From Python 3.13 on they are checked strictly (RFC 5280).

    Args:
        tls: the settings.
        failed: told why a handshake has failed, which pynetdicom keeps to itself.

    Raises:
        OSError: a file cannot be used.
    """
    if not tls.certificate:
        return None
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key, password=_none)

    class Telling(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            try:
                super().do_handshake(block)
            except ssl.SSLError as error:
                if failed is not None:
                    failed(tls_reason(error) or "")
                raise

    context.sslsocket_class = Telling
    return context


def tls_reason(error: BaseException) -> str | None:
    """What TLS has found wrong with the other side, and what to do; None: it was not TLS.

    Args:
        error: or one that it has led to.
    """
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, ssl.SSLCertVerificationError):
            cause = f"its certificate does not hold: {known.verify_message.rstrip('.')}"
            return f"TLS has failed ({cause}); deploy/node.md says how to make one that does"
        if isinstance(known, ssl.SSLError):
            remedy = "check that both sides speak TLS 1.2 or later, and show a certificate"
            return f"TLS has failed ({known.reason or type(known).__name__}); {remedy}"
        known = known.__cause__ or known.__context__
    return None
