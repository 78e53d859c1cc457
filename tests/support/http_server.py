"""An HTTP server on this machine that supports ranges and can cut connections."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serve ``files`` (path to bytes); the first ``cuts`` answers end after ``cut_after`` bytes."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.cut_after, self.ranges = files, 0, 0, True
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, requested_range = self.server, self.headers.get("Range", "")
        server.requests.append((self.path, requested_range))
        body = server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start = int(re.fullmatch(r"bytes=(\d+)-", requested_range)[1]) if requested_range else 0
        partial = requested_range and server.ranges and self.headers.get("If-Range") == tag
        if partial and start >= len(body):
            return self.send_error(416)
        rest = body[start:] if partial else body
        self.send_response(206 if partial else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(rest)))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            rest = rest[: server.cut_after]
            self.close_connection = True
        return self.wfile.write(rest)

    def log_message(self, *_):
        pass
