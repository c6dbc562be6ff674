"""One connection of `oxillama serve`: uvicorn's, with bounds for what a client may send, and how slowly.

uvicorn takes as many requests ahead of their turn as a client likes to send, waits for the rest of a header or a body
for ever, and looks at the size of a header only while that is incomplete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal, cast

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from oxillama.asgi.errors import HTTPError
from oxillama.asgi.sse import HALF_CLOSED
from oxillama.cli.patience import Patience

# Request line and headers together, their line ends included.
MAX_HEADER_BYTES = 32 << 10
# What a connection may send ahead, before the request that it waits for has been answered. Beyond that it is not read
# from, so that its sender is slowed down by TCP.
MAX_BYTES_AHEAD = 64 << 10
# Seconds for a whole header: since the connection was made, or since its first byte on a connection that is kept.
HEADER_SECONDS = 20.0
# Seconds that a body may be behind the slowest that is taken for a client at work.
BODY_SECONDS = 20.0
BODY_BYTES_PER_SECOND = 8 << 10
# Seconds to send the rest of a body that has been answered already: clients that look for a reply only after they have
# sent everything would not see it otherwise.
LINGER_SECONDS = 10.0
# A client that has shut down its side may be waiting or gone, which looks the same. After these seconds of silence, and
# then at these intervals, it is sent something that only one that is gone refuses.
PROBE_AFTER_SECONDS = 3.0
PROBE_SECONDS = 1.0

Phase = Literal["header", "body", "rest"]
# Seconds, and bytes that win one of them back.
PATIENCE: dict[Phase, tuple[float, float]] = {
    "header": (HEADER_SECONDS, 0.0),
    "body": (BODY_SECONDS, BODY_BYTES_PER_SECOND),
    "rest": (LINGER_SECONDS, 0.0),
}


class Connection(H11Protocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # h11 measures only headers that are still incomplete. It is never given more than MAX_HEADER_BYTES of one, and
        # refuses what is incomplete then.
        self.conn = h11.Connection(h11.SERVER, MAX_HEADER_BYTES - 1)
        self._ahead = bytearray()
        self._half_closed = asyncio.Event()
        self._is_refused = False
        self._phase: Phase | None = None
        self._patience = Patience(HEADER_SECONDS)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- what asyncio and uvicorn call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self.keep_time()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        self._patience.gain(len(data), self.loop.time())
        self._ahead += data
        self._feed()

    def eof_received(self) -> bool:  # type: ignore[override]  # whether to keep the other half open
        self._half_closed.set()
        if not self._is_owed_an_answer:
            return False
        self._start("probe", PROBE_AFTER_SECONDS, self._probe)
        return True

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering:
            # The app's task has not begun yet.
            self.scope["extensions"] = cast("Any", {HALF_CLOSED: self._half_closed})

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._feed()
        if self._half_closed.is_set() and not self._is_owed_an_answer and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._ahead.clear()
        for timer in self._timers.values():
            timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Called for what h11 cannot read."""
        is_too_long = self.conn.our_state is h11.IDLE and len(self.conn.trailing_data[0]) >= MAX_HEADER_BYTES
        self._refuse(_TOO_LONG if is_too_long else _INVALID)

    # --- how much

    @property
    def has_room(self) -> bool:
        return len(self._ahead) <= MAX_BYTES_AHEAD

    def _feed(self) -> None:
        """Hands on what has come, up to the end of the request that is being read."""
        while self._ahead and self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            room = max(1, MAX_HEADER_BYTES - len(self.conn.trailing_data[0]))
            self.conn.receive_data(bytes(self._ahead[:room]))
            del self._ahead[:room]
            self.handle_events()
        if not self.has_room:
            self.flow.pause_reading()
        self.keep_time()

    # --- how slowly

    def keep_time(self) -> None:
        """To be called whenever it may have become, or ceased to be, the client's turn."""
        now, phase = self.loop.time(), self._whose_turn()
        if phase != self._phase:
            self._phase = phase
            if timer := self._timers.pop("patience", None):
                timer.cancel()
            if phase is not None:
                self._patience = Patience(*PATIENCE[phase])
        if phase is None or self.flow.read_paused:
            self._patience.rest(now)
            return
        self._patience.wait(now)
        if "patience" not in self._timers:
            self._start("patience", self._patience.left(now), self._look_at_the_clock)

    def _whose_turn(self) -> Phase | None:
        """What the client is waited for to send, or None."""
        if self._is_refused or self.transport.is_closing():
            return None
        if self.conn.their_state is h11.SEND_BODY:
            if not self._is_answering:
                return "rest"
            return None if self.cycle.waiting_for_100_continue else "body"
        # Between two requests, the time that a connection is kept is uvicorn's matter.
        is_first = self.cycle is None
        if self.conn.their_state is h11.IDLE and (is_first or self.conn.trailing_data[0]):
            return "header"
        return None

    def _look_at_the_clock(self) -> None:
        left = self._patience.left(self.loop.time())
        if self._phase is None or self.flow.read_paused:
            return  # keep_time() starts it anew
        if left > 0:
            self._start("patience", left, self._look_at_the_clock)
        elif self._phase == "rest":
            self.transport.close()
        else:
            self._refuse(_TOO_SLOW)

    # --- the end

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self._is_refused

    @property
    def _is_owed_an_answer(self) -> bool:
        """To a request that is whole."""
        return self._is_answering and self.conn.their_state is not h11.SEND_BODY

    def _probe(self) -> None:
        """Sends a client that may be gone what HTTP/1.1 lets one send before a reply. If it is gone, its machine
        refuses that, which ends the connection. A reply that has begun is probe enough."""
        if self.transport.is_closing() or not self._is_answering:
            return
        if not self.cycle.response_started and self.scope["http_version"] == "1.1":
            interim = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self.transport.write(self.conn.send(interim) or b"")
        self._start("probe", PROBE_SECONDS, self._probe)

    def _refuse(self, error: HTTPError) -> None:
        """Answers in the app's stead, if it has not begun to, and reads no more requests."""
        if self._is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_refused = True
        self._ahead.clear()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json.dumps(error.to_dict()).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        reply = h11.Response(
            status_code=error.status, headers=list(headers.items()), reason=STATUS_PHRASES[error.status]
        )
        for event in (reply, h11.Data(data=body), h11.EndOfMessage(), h11.ConnectionClosed()):
            self.transport.write(self.conn.send(event) or b"")
        # A socket that is closed with something unread resets the connection, and the reply may be lost with it.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._start("refusal", LINGER_SECONDS, self.transport.close)

    def _start(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.pop(name, None)
            call()

        self._timers[name] = self.loop.call_later(seconds, due)


class _Flow(FlowControl):
    """uvicorn's, but what a connection sends ahead of its turn also stops the reading."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def pause_reading(self) -> None:
        # uvicorn also resumes the transport without telling this object.
        self.read_paused = True
        if self._transport.is_reading():
            self._transport.pause_reading()
        self._connection.keep_time()

    def resume_reading(self) -> None:
        if self._connection.has_room:
            super().resume_reading()
            self._connection.keep_time()


_INVALID = HTTPError(400, "this is no valid HTTP/1.1 request", code="invalid_http")
_TOO_LONG = HTTPError(431, f"the headers are longer than {MAX_HEADER_BYTES} bytes in all", code="header_too_large")
_TOO_SLOW = HTTPError(408, "the rest of the request did not come in time", code="request_timeout")
