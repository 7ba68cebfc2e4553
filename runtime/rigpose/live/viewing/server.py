"""A small server for this computer alone: a token in every address, few clients, and none that is slow.

The standard library's is enough: three addresses, one user, nothing to install on a rig.
"""

from __future__ import annotations

import hmac
import logging
import os
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import socket
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from rigpose.live.faults import LiveError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    content: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class LocalServer(socketserver.ThreadingMixIn, HTTPServer):
    """Answers GET requests whose address begins with the token, each in a thread of its own.

    Args:
        port: 0 for any that is free.
        token: In front of every path; all else is forbidden.
        answer: From the path after the token, such as ``/``, and the query to the answer.
        at_once: Requests at once, of which a browser has two at most; others are sent away.
        slowest: A client that takes longer to ask, or to take its answer, is dropped [s].

    Raises:
        LiveError: The port is in use, or may not be used.
    """

    daemon_threads = True
    block_on_close = False
    # On Windows it would let another program take the port over.
    allow_reuse_address = os.name != "nt"

    def __init__(
        self,
        port: int,
        token: str,
        answer: Callable[[str, Mapping[str, str]], Answer],
        *,
        at_once: int = 12,
        slowest: float = 3.0,
    ) -> None:
        self.token, self.answer, self.slowest = token, answer, slowest
        self._free = threading.BoundedSemaphore(at_once)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            cause = getattr(error, "strerror", None) or error
            raise LiveError(f"web page: port {port} cannot be used ({cause}); name another, or no port.") from error
        self.own_names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="rigpose-web", daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        """Bind without asking a name server for this computer's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def stop(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; when there are too many, not at all."""
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.send(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One client, from its request to its answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that left or was dropped is no matter; anything else is a defect."""
        del request, client_address
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger(__name__).exception("the web page could not answer")


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP 1.0: the connection ends with the answer, so that no idle browser keeps a thread."""

    disable_nagle_algorithm = True
    server_version, sys_version = "rigpose", ""

    def setup(self) -> None:
        """Set the time limit."""
        super().setup()
        self._asked = cast(LocalServer, self.server)
        self.connection.settimeout(self._asked.slowest)

    def do_GET(self) -> None:
        """Answer, if the asker knows the token and asks this computer by its own name."""
        # A page elsewhere whose name was made to point here would ask by that name (DNS rebinding).
        if self.headers.get("Host", "") not in self._asked.own_names:
            self._send(_FORBIDDEN)
            return
        address = urlsplit(self.path)
        token, slash, path = address.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self._asked.token.encode()) or not slash:
            self._send(_FORBIDDEN)
            return
        self._send(self._asked.answer(f"/{path}", dict(parse_qsl(address.query))))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
        """Say nothing: there are many requests a second."""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        # All of it within the time limit, however it is cut into pieces.
        self.wfile.write(answer.content)


_FORBIDDEN = Answer(b"Use the whole address that rigpose live printed.\n", status=HTTPStatus.FORBIDDEN)
