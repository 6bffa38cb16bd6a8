"""The explorer in a browser: a page at 127.0.0.1 that asks the session of this process."""

import hmac
import io
import json
import re
import secrets
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from racviz.exceptions import StorageError
from racviz.explorer.export import page
from racviz.explorer.session import Session

LARGEST = 1 << 16
"""The most bytes of a request."""
PATIENCE = 30.0
"""Seconds for a client to send its request, and again to take the answer."""
BACKLOG = 512
"""Connections that may wait: a browser opens several at once, and a reloaded page many."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the key
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class _Deadline(io.RawIOBase):
    """A connection with a deadline for its request, however slowly the bytes arrive."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._end = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client is too slow")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Listener(ThreadingHTTPServer):
    """A server of one session, with a thread for each client, which may be slow or disappear."""

    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(self, session: Session, port: int, patience: float) -> None:
        self.session, self.patience = session, patience
        self.lock = threading.Lock()
        self.key = secrets.token_urlsafe(16)
        """The first part of every path."""
        self.page = page(session, served=True).encode()
        policy = re.search(rb'Content-Security-Policy" content="([^"]+)"', self.page)[1].decode()
        self.policy = policy + "; frame-ancestors 'none'"
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print unexpected errors; a client that left is expected."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers to one client: the page at `/`, the session's answers at `/ask`."""

    server: _Listener

    def setup(self) -> None:
        """Read the request with a deadline."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Deadline(self.connection, self.server.patience))

    def do_GET(self) -> None:
        """Send the page."""
        if self._allowed("/"):
            self._send(200, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Hand the request to the session, and send its data and arrays."""
        if not self._allowed("/ask"):
            return
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit()) or len(size) > 9 or int(size) > LARGEST:
            return self._send(413, b"", "text/plain")
        try:
            request = json.loads(self.rfile.read(int(size)))
        except (ValueError, RecursionError):
            return self._send(400, b"", "text/plain")
        with self.server.lock:
            data, arrays = self.server.session.handle(request if isinstance(request, dict) else {})
        head = json.dumps({"data": data, "sizes": [len(array) for array in arrays]}).encode()
        self._send(200, b"".join([len(head).to_bytes(4, "big"), head, *arrays]), "application/octet-stream")

    def _allowed(self, path: str) -> bool:
        """Reject requests without the secret path, from a foreign Host (DNS rebinding), or from another site's page."""
        port = self.server.server_port
        hosts = [f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in ([f":{port}"] + [""] * (port == 80))]
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        same_origin = origin is None or origin in [f"http://{host}" for host in hosts]
        secret = hmac.compare_digest(self.path.encode("utf-8", "replace"), f"/{self.server.key}{path}".encode())
        if secret and self.headers.get("Host") in hosts and same_origin and site in ("none", "same-origin"):
            return True
        self._send(404, b"", "text/plain")
        return False

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.connection.settimeout(self.server.patience)  # for the whole answer, however slowly it is taken
        self.send_response(status)
        fixed = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": self.server.policy}
        for name, value in (HEADERS | fixed).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """The name in the Server header, without versions."""
        return "racviz"

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Server:
    """Serve one session at a secret address; as a context, in a thread of its own.

    Parameters
    ----------
    session : Session
    port : int
        Port on 127.0.0.1; 0 picks a free one.
    patience : float
        Seconds for a client to send its request, and again to take the answer.

    Raises
    ------
    StorageError
        If the port cannot be used.
    """

    def __init__(self, session: Session, port: int = 0, patience: float = PATIENCE) -> None:
        try:
            self._server = _Listener(session, port, patience)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise StorageError(f"port {port} of this machine cannot be used: {why}. Take another --port, or none.") from error
        self.address = f"http://127.0.0.1:{self._server.server_port}/{self._server.key}/"

    def serve(self) -> None:
        """Serve until interrupted."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
