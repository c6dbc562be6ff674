"""Clients over bare sockets: what they read, how slowly, and when they leave is up to the test."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import Any


def request_bytes(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content


async def streamed_text(port: int, body: dict[str, Any]) -> str:
    """The text of a streamed completion, which must come to its good end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request_bytes("/v1/completions", {**body, "stream": True}))
        status = await reader.readline()
        assert b" 200 " in status, status + await reader.read()
        texts, ended = [], False
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                ended = True
            elif line.startswith(b"data: "):
                texts += [choice["text"] for choice in json.loads(line[6:])["choices"]]
        assert ended, "the stream broke off"
        return "".join(texts)
    finally:
        writer.close()


def slow_reader(port: int, body: dict[str, Any]) -> socket.socket:
    """A client that has asked for a stream and reads nothing unless told to; its buffer is as small as can be."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.connect(("127.0.0.1", port))
    client.sendall(request_bytes("/v1/completions", {**body, "stream": True}))
    return client


def vanish(port: int, sent: bytes, *, reset: bool, read: int = 0) -> None:
    """Connects, sends, reads so many bytes, and is gone: orderly, or with a reset as when a machine goes down."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)
        if read:
            # A crowded engine may not come to it for long; this client does not wait for ever.
            client.settimeout(2)
            with suppress(TimeoutError):
                client.recv(read)
