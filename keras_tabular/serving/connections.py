"""What a server does around its handlers: idle connections, names of hosts, the access log."""

import json
import re
from contextlib import suppress
from time import perf_counter
from typing import Any
from uuid import uuid4

from fastapi.middleware.trustedhost import TrustedHostMiddleware
from starlette.datastructures import URL
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

IP_ADDRESS = re.compile(r"[\d.]+|.*:.*")  # no name has one of these forms


class Connection(H11Protocol):
    """A connection that is closed if it is idle, also if it never had a request.

    uvicorn itself closes an idle connection only after a request.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        close, seconds = self.timeout_keep_alive_handler, self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(seconds, close)


class HostCheck(TrustedHostMiddleware):
    """Refuses requests by a name that is not allowed. An IP address is always allowed.

    The check is against pages of other sites whose name leads to this server (DNS rebinding), since
    a browser then sends that name. Probes of Kubernetes and Prometheus send an address.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_address = IP_ADDRESS.fullmatch(URL(scope=scope).hostname or "")
        await (self.app if is_address else super().__call__)(scope, receive, send)


async def log_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Print a JSON line about a request. Its identifier is also a header of the response.

    The identifier is the header `X-Request-ID` of the request, which a proxy may set, or a new one.
    """
    start, identifier = perf_counter(), request.headers.get("x-request-id") or uuid4().hex
    response = await call_next(request)
    response.headers["x-request-id"] = identifier
    line: dict[str, Any] = {"request": identifier, "client": request.scope["client"][0]}
    line |= {"method": request.method, "path": request.url.path, "status": response.status_code}
    line["seconds"] = round(perf_counter() - start, 6)
    with suppress(OSError):  # the response is sent in any case
        print(json.dumps(line), flush=True)
    return response
