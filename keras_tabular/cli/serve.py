"""Serve a model over HTTP, with the same checks and predictions as `predict`."""

import resource
import signal
import socket
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from keras_tabular.model.files import MODEL_FILE
from keras_tabular.model.predict import load_predictor
from keras_tabular.runs.run import read_model

LOOPBACK = "127.0.0.1"
MEGABYTE = 10**6


def main(parser: ArgumentParser) -> None:
    args = parse_arguments(parser)
    content = read_model(args.model)

    import uvicorn
    from starlette.middleware.base import BaseHTTPMiddleware

    from keras_tabular.serve.app import (
        Connection,
        Limits,
        Service,
        build_app,
        log_request,
    )

    predictor = load_predictor(args.model, content)
    host = args.host
    family = socket.AF_INET
    if ":" in host:
        host = f"[{host}]"
        family = socket.AF_INET6
    Connection.timeout = args.request_timeout  # of all objects: uvicorn creates them
    limits = Limits(
        max_body=int(args.max_body * MEGABYTE),
        max_rows=args.max_rows,
        max_concurrency=args.max_concurrency,
        timeout=args.request_timeout,
    )
    service = Service(predictor, limits, args.model_version, args.log)
    notice = None if args.no_page else args.notice
    app = build_app(service, ["localhost", host, *args.allow_host], notice)
    if args.host != LOOPBACK:
        print(
            f"warn: anyone who can reach {args.host} can request predictions. Put a"
            " proxy in front of the server, with TLS, a password and timeouts.",
            file=sys.stderr,
        )
    # Clients can connect as soon as there is this socket.
    listening = socket.create_server((args.host, args.port), family=family)
    # asyncio sets this only for sockets that it creates. Without it, each answer waits
    # 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(
        f"Serving {args.model} on http://{host}:{listening.getsockname()[1]}",
        flush=True,
    )
    # A file gets the lowest free descriptor. One half of the others is for connections,
    # and the other one for those that are accepted before the server counts them.
    max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    max_connections = (max_files - listening.fileno()) // 2
    max_connections = min(max_connections, Connection.max_connections)
    Connection.max_connections = max_connections
    config = uvicorn.Config(
        BaseHTTPMiddleware(app, log_request) if args.access_log else app,
        http=Connection,
        ws="none",
        backlog=max_connections // 4,
        log_level="error",  # a warning is about a request, which anyone can send
        access_log=False,
        server_header=False,
        root_path=args.root_path,
        timeout_keep_alive=5,  # seconds
        timeout_graceful_shutdown=30,  # seconds
    )
    with suppress(KeyboardInterrupt):  # uvicorn stops, and raises the signal again
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        uvicorn.Server(config).run(sockets=[listening])
    print("Stopped", flush=True)


def parse_arguments(parser: ArgumentParser) -> Namespace:
    """Parse the arguments of the command."""
    add = parser.add_argument
    add(
        "model",
        metavar="FILE",
        nargs="?",
        type=Path,
        default=MODEL_FILE,
        help="the model, a .keras file; default: %(default)s",
    )
    add(
        "--host",
        metavar="ADDRESS",
        default=LOOPBACK,
        help="address to listen on; default: %(default)s, only for this machine",
    )
    add(
        "--allow-host",
        default=[],
        action="append",
        metavar="NAME",
        help="another name by which clients may call the server; *.DOMAIN allows all"
        " names of a domain, * any name; can be given several times",
    )
    add(
        "--port",
        type=int,
        default=8000,
        help="port to listen on, 0 for a free one; default: %(default)s",
    )
    add(
        "--root-path",
        default="",
        metavar="PREFIX",
        help="prefix that a proxy removes from paths, such as /models/churn",
    )
    add(
        "--max-body",
        type=float,
        default=8.0,
        metavar="MB",
        help="maximum size of a request in megabytes; default: %(default)g",
    )
    add(
        "--max-rows",
        type=int,
        default=10_000,
        metavar="N",
        help="maximum number of rows in a request; default: %(default)s",
    )
    add(
        "--request-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time within which a request has to be received; default: %(default)g",
    )
    add(
        "--max-concurrency",
        "--max-connections",
        type=int,
        default=64,
        metavar="N",
        help="maximum number of requests to /predict at once; default: %(default)s",
    )
    add_log_and_page_options(parser)
    return parser.parse_args()


def add_log_and_page_options(parser: ArgumentParser) -> None:
    """Add the options of the logs and of the page."""
    add = parser.add_argument
    add(
        "--access-log",
        action="store_true",
        help="print a JSON line for each request, with its X-Request-ID",
    )
    add(
        "--log",
        metavar="FOLDER",
        type=Path,
        help="append a JSON line for each predicted row to FOLDER/YYYY-MM-DD.jsonl",
    )
    add(
        "--model-version",
        metavar="NAME",
        help="version of the model in answers, in the log and in metrics",
    )
    add(
        "--notice",
        metavar="TEXT",
        default="",
        help="text on the page, such as what the model must not be used for",
    )
    add(
        "--no-page",
        action="store_true",
        help="show no page, and leave values of training rows out of /schema",
    )
