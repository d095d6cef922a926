"""TLS by PEM files (PS3.15, B.9 and BCP 195: TLS 1.2 or later), for both directions."""

from __future__ import annotations

import ssl
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


def client_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """For destinations, whose certificate and host name are checked. None: no TLS."""
    if not tls.certificate:
        return None
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key, password=_none)
    return context
