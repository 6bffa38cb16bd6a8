"""The explorer for those who do not write notebooks: a page at 127.0.0.1 that asks the session of this process."""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from racviz.errors import StorageError
from racviz.explorer.export import page
from racviz.explorer.session import Session

LARGEST = 1 << 16
"""Bytes of a request."""
WAIT = 30
"""Seconds that a client may take for its request, and to take an answer."""
BACKLOG = 256
"""Connections that may wait to be accepted."""
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content security policy: the page holds its own script and style, and asks nobody but this server."""

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


SAFETY = (("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))


class _Http(ThreadingHTTPServer):
    request_queue_size = BACKLOG

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that went away or took too long."""


class Server:
    """Serves one session at an address that only who was told it knows. As a context it runs in a thread of its own."""

    def __init__(self, session: Session, port: int = 0) -> None:
        key, lock = secrets.token_urlsafe(16), threading.Lock()
        shown = page(session, ask=ASK).encode()

        class Handler(BaseHTTPRequestHandler):
            timeout = WAIT

            def do_GET(self) -> None:
                if self._known("/"):
                    self._send(200, shown, "text/html; charset=utf-8")

            def do_POST(self) -> None:
                if not self._known("/ask"):
                    return
                size = self.headers.get("Content-Length", "")
                if not size.isdigit() or int(size) > LARGEST:
                    return self._send(413, b"", "text/plain")
                try:
                    request = json.loads(self.rfile.read(int(size)))
                except ValueError:
                    return self._send(400, b"", "text/plain")
                with lock:
                    data, arrays = session.handle(request if isinstance(request, dict) else {})
                head = json.dumps({"data": data, "sizes": [len(each) for each in arrays]}).encode()
                self._send(200, b"".join([len(head).to_bytes(4, "big"), head, *arrays]), "application/octet-stream")

            def _known(self, rest: str) -> bool:
                """Reject requests without the secret path, for a foreign Host (DNS rebinding), or from another page's Origin."""
                here = {f"{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost")}
                origin = self.headers.get("Origin")
                ours = origin is None or origin.removeprefix("http://") in here
                path = secrets.compare_digest(self.path.encode("utf-8", "replace"), f"/{key}{rest}".encode())
                if path and ours and self.headers.get("Host", "") in here:
                    return True
                self._send(404, b"", "text/plain")
                return False

            def _send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                for name, value in (
                    ("Content-Type", kind),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    *SAFETY,
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        try:
            self._server = _Http(("127.0.0.1", port), Handler)
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
