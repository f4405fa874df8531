"""A WSGI application as anybody's: knows nothing of handovers."""

import os
import time


def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = b"hello\n"
    if path == "/slow":
        time.sleep(0.3)
    elif path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/echo":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
