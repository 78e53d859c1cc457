"""A real HTTP server on this machine, with ranges, that can cut connections."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files`` (path to bytes); of the first ``cuts`` answers only ``cut_after`` bytes are sent."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.cut_after, self.ranges = files, 0, 0, True
        self.asked: list[tuple[str, str]] = []

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
        server, asked = self.server, self.headers.get("Range", "")
        server.asked.append((self.path, asked))
        body = server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        begins = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        partial = asked and server.ranges and self.headers.get("If-Range") == tag
        if partial and begins >= len(body):
            return self.send_error(416)
        rest = body[begins:] if partial else body
        self.send_response(206 if partial else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(rest)))
        if partial:
            self.send_header("Content-Range", f"bytes {begins}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            rest = rest[: server.cut_after]
            self.close_connection = True
        return self.wfile.write(rest)

    def log_message(self, *_):
        pass
