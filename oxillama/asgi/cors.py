"""Cross-origin requests: off by default, Starlette's own middleware with refusals in the shape of all errors."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from oxillama.asgi.errors import HTTPError


class CrossOrigin(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        reply = HTTPError(response.status_code, bytes(response.body).decode(), code="cors_refused").to_response()
        for name, value in response.headers.items():
            if name not in ("content-length", "content-type"):
                reply.headers[name] = value
        return reply
