"""The explorer for those who do not write notebooks: a page at 127.0.0.1 that asks the session of this process."""

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
"""Bytes of a request."""
PATIENCE = 30.0
"""Seconds that a client has to send its request, and again to take the answer."""
BACKLOG = 512
"""Connections that may wait to be taken: a browser opens several at once, and a page that is reloaded many."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the key
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

ASK = """
async (what) => {
  const gone = (why) => [{ error: `the explorer's process does not answer (${why}); is it still running?` }, []];
  let answer;
  try { answer = await fetch("ask", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) }); }
  catch (error) { return gone(error.message); }
  if (!answer.ok) return gone(answer.status);
  const bytes = await answer.arrayBuffer(), head = new DataView(bytes).getUint32(0);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, head))), arrays = [];
  let at = 4 + head;
  for (const size of said.sizes) { arrays.push(bytes.slice(at, at + size)); at += size; }
  return [said.data, arrays];
}
"""


class _Deadline(io.RawIOBase):
    """A connection that is read until a moment, however slowly it drips."""

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
    """Threads of their own for clients, who may be slow or go away without a word."""

    request_queue_size = BACKLOG
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Server:
    """Serves one session at an address that only who was told it knows. As a context it runs in a thread of its own."""

    def __init__(self, session: Session, port: int = 0, patience: float = PATIENCE) -> None:
        key, lock = secrets.token_urlsafe(16), threading.Lock()
        shown = page(session, ask=ASK).encode()
        policy = re.search(rb'Content-Security-Policy" content="([^"]+)"', shown)[1].decode() + "; frame-ancestors 'none'"

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                self.rfile.close()
                self.rfile = io.BufferedReader(_Deadline(self.connection, patience))

            def do_GET(self) -> None:
                if self._known("/"):
                    self._send(200, shown, "text/html; charset=utf-8")

            def do_POST(self) -> None:
                if not self._known("/ask"):
                    return
                size = self.headers.get("Content-Length", "")
                if not (size.isascii() and size.isdigit()) or len(size) > 9 or int(size) > LARGEST:
                    return self._send(413, b"", "text/plain")
                try:
                    request = json.loads(self.rfile.read(int(size)))
                except (ValueError, RecursionError):
                    return self._send(400, b"", "text/plain")
                with lock:
                    data, arrays = session.handle(request if isinstance(request, dict) else {})
                head = json.dumps({"data": data, "sizes": [len(each) for each in arrays]}).encode()
                self._send(200, b"".join([len(head).to_bytes(4, "big"), head, *arrays]), "application/octet-stream")

            def _known(self, rest: str) -> bool:
                """Reject requests without the secret path, from a foreign Host (DNS rebinding), or from another site's page."""
                port = self.server.server_port
                hosts = [f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in ([f":{port}"] + [""] * (port == 80))]
                origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
                same = origin is None or origin in [f"http://{host}" for host in hosts]
                path = hmac.compare_digest(self.path.encode("utf-8", "replace"), f"/{key}{rest}".encode())
                if path and self.headers.get("Host") in hosts and same and site in ("none", "same-origin"):
                    return True
                self._send(404, b"", "text/plain")
                return False

            def _send(self, status: int, body: bytes, kind: str) -> None:
                self.connection.settimeout(patience)  # for the whole answer, however slowly it is taken
                self.send_response(status)
                fixed = HEADERS | {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
                for name, value in fixed.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def version_string(self) -> str:
                return "racviz"

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        try:
            self._server = _Listener(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise StorageError(f"port {port} of this machine cannot be used: {why}. Take another --port, or none.") from error
        self.address = f"http://127.0.0.1:{self._server.server_port}/{key}/"

    def serve(self) -> None:
        """Until interrupted."""
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
