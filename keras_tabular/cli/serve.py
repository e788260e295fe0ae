"""Serve a model over HTTP: rows as JSON in, the predictions of `predict` out."""

import re
import signal
import socket
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from keras_tabular.core.errors import UserError
from keras_tabular.experiments.rerun import read_model
from keras_tabular.prediction.inputs import load_schema_and_params

LOOPBACK = "127.0.0.1"
MEGABYTE = 10**6
HOST_PATTERN = re.compile(r"\*|(\*\.)?[\w.-]+|\[[\da-fA-F:.]+\]")


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("model", nargs="?", type=Path, default="models/model.keras", help="the .keras file")
    add("--host", default=LOOPBACK, help=f"address to listen on; default {LOOPBACK}, this machine")
    add("--allow-host", default=[], action="append", metavar="NAME",
        help="another name of the server in requests; *.DOMAIN, or * for any")  # fmt: skip
    add("--port", type=int, default=8000, help="0 takes a free one")
    add("--max-body", type=float, default=8.0, metavar="MB", help="size of a request; default 8")
    add("--max-connections", type=int, default=64, metavar="N", help="default 64; more get 503")
    args = parser.parse_args()
    if not 0 <= args.port < 2**16 or not 0 < args.max_body < 1e6 or args.max_connections < 1:
        parser.error("expected a port below 65536; --max-body and --max-connections above 0")
    if not all(map(HOST_PATTERN.fullmatch, args.allow_host)):
        parser.error("expected --allow-host NAME without scheme and port, *.DOMAIN or *")
    return args


def main() -> None:
    args = parse_arguments()
    content = read_model(args.model)
    schema, params = load_schema_and_params(args.model, content, "validate")
    try:
        import uvicorn

        from keras_tabular.serving.app import Service, application
    except ModuleNotFoundError as error:
        raise UserError(f"{error}; `pip install -r requirements-serve.txt` gets it") from None
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    listening = socket.create_server((args.host, args.port), family=family)
    # asyncio does not set it for a socket of another maker; each answer would wait 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    from keras_tabular.model_file.saved_model import load_model

    model = load_model(args.model, content, schema)
    service = Service(model, schema, params.validate, int(args.max_body * MEGABYTE))
    host = f"[{args.host}]" if ":" in args.host else args.host
    app = application(service, [LOOPBACK, "localhost", host, *args.allow_host])
    if args.host != LOOPBACK:
        print(
            f"warn: anyone who reaches {args.host} can request predictions; put a proxy with TLS, "
            "a password and timeouts in front",
            file=sys.stderr,
        )
    print(f"Serving {args.model} on http://{host}:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=args.max_connections + 1,  # uvicorn refuses the one that reaches it
        timeout_keep_alive=5,  # seconds
        timeout_graceful_shutdown=30,  # seconds
    )
    with suppress(KeyboardInterrupt):  # uvicorn stops, then raises the signal again
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        uvicorn.Server(config).run(sockets=[listening])
    print("Stopped", flush=True)
