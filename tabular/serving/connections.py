"""Connections that end: idle ones, and those on which more comes than is read."""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MOMENT = 2.0  # seconds that what is not read may still come, so that its client reads the answer


class Closing:
    """An application that closes a connection where it answers before the body was read.

    A request whose end is in doubt is refused: what is behind it may be another's.

    Args:
        limit: bytes that are discarded, at most.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, headers = self.app, Headers(scope=scope) if scope["type"] == "http" else Headers()
        chunked, length = "transfer-encoding" in headers, headers.get("content-length")
        unread = chunked or int(length or 0) > 0

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            elif unread and not message.get("more_body"):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(MOMENT):
                        left = self.limit
                        while unread and left > 0:
                            left -= len((await reading()).get("body", b""))
                message = {"type": "http.response.body"}
            await send(message)

        if chunked and length is not None:
            said = "headers: found Content-Length and Transfer-Encoding; expected one of them"
            app = JSONResponse({"errors": [said]}, 400)
        await app(scope, reading, sending)


class Protocol(H11Protocol):
    """HTTP whose clients have as long to send the head of a request as between two of them."""

    head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Time the head that is awaited; what came of it gives it no more time."""
        answered = self.cycle is None or self.cycle.response_complete
        if answered and not self.head:
            self.head = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif not answered and self.head:
            self.head.cancel()
            self.head = None
