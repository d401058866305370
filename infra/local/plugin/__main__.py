"""`pulumi-resource-alicloud`: prints its port and serves the engine until that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent import futures

from infra.local.plugin.protocol import spare_the_sdk

# The engine's parallelism must never exceed this: a call waits for a thread, and calls wait for each other.
THREADS = 128
UNLIMITED_MESSAGES = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def main() -> None:
    spare_the_sdk()
    import grpc
    from pulumi.runtime.proto import provider_pb2_grpc

    from infra.local.plugin.logs import EngineLog
    from infra.local.plugin.provider import LocalProvider

    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=THREADS), options=UNLIMITED_MESSAGES)
    provider = LocalProvider(EngineLog(arguments[-1] if arguments else None))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    received: list[int] = []

    def end(number: int, _: object) -> None:
        received.append(number)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    threading.Thread(target=_wait_for_end_of_input, args=(ended,), daemon=True).start()
    print(port, flush=True)
    # A timeout lets the main thread run signal handlers, which an endless wait in C code would not.
    while not ended.wait(0.2):
        pass
    if signal.SIGINT in received:  # how the engine ends its plugins
        provider.end_in_order()
    server.stop(grace=4).wait()
    os._exit(0)  # threads that are still waiting for the cloud must not keep a plugin alive


def _wait_for_end_of_input(ended: threading.Event) -> None:
    """The engine holds our standard input; its end means that the engine is gone, killed perhaps."""
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
