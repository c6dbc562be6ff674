"""What every reply that is not 2xx must look like."""

from __future__ import annotations

from typing import Any, Protocol

TYPES = {
    400: {"invalid_request_error", "exceed_context_size_error"},
    401: {"authentication_error"},
    403: {"permission_error"},
    404: {"invalid_request_error"},
    405: {"invalid_request_error"},
    409: {"invalid_request_error"},
    413: {"invalid_request_error"},
    415: {"invalid_request_error"},
    429: {"rate_limit_error"},
    500: {"server_error"},
    501: {"not_supported_error"},
    503: {"unavailable_error"},
    504: {"timeout_error"},
}


class Reply(Protocol):
    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...

    def json(self) -> Any: ...


def error_of(reply: Reply, status: int) -> dict[str, Any]:
    """The error of a reply; fails unless status, content type and shape are right."""
    assert reply.status_code == status, (reply.status_code, reply.json())
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert isinstance(error, dict)
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] in TYPES[status]
    return error
