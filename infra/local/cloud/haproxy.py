"""HAProxy in a container, which serves what was written: it is asked whether it does, on a socket in its folder.

A signal to take up new files is lost when it comes while HAProxy still takes up those before, and whoever wrote the
files may be killed before sending one. So a configuration bears its version, and HAProxy tells the one it serves.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tenacity import Retrying, retry, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from infra.local.cloud.context import write_atomically
from infra.local.cloud.errors import CloudError

FILE = "haproxy.cfg"
COMMAND = ("haproxy", "-W", "-db", "-f", f"/settings/{FILE}")
CONTROL = "control"
SOCKET = "haproxy.sock"
CONTROL_SOCKET = f"/run/{CONTROL}/{SOCKET}"
"""Where HAProxy finds it."""
ANSWER_SECONDS = 2.0
SIGNAL_SECONDS = 1.0
"""A reload takes a tenth of it on a quiet machine."""
SERVING_SECONDS = 15.0
PAUSE_SECONDS = 0.05


def volumes(folder: Path) -> tuple[str, ...]:
    """Options of a container that serves a folder: its settings, and where it is asked."""
    return ("--volume", f"{folder}:/settings:ro", "--volume", f"{folder / CONTROL}:/run/{CONTROL}")


def write(folder: Path, text: str) -> bool:
    """Writes the configuration beside the files that it names, with the version of all of them; True where it differs
    from what was there. `text` begins with its global section."""
    (folder / CONTROL).mkdir(parents=True, exist_ok=True)
    told = f"global\n  description {_version(folder, text)}\n  stats socket {CONTROL_SOCKET} mode 600 level admin\n"
    return write_atomically(folder / FILE, text.replace("global\n", told, 1))


def _version(folder: Path, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and place.parts[0] not in (FILE, CONTROL) and not path.name.startswith("."):
            digest.update(f"\0{place}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def ask(folder: Path, command: str) -> str | None:
    """What the HAProxy that serves the folder answers; None where none does."""
    try:
        # by way of the open folder: a socket's path may have 107 characters at most
        place = os.open(folder / CONTROL, os.O_PATH)
    except OSError:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(ANSWER_SECONDS)
            asked.connect(f"/proc/self/fd/{place}/{SOCKET}")
            asked.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: asked.recv(65536), b"")).decode() or None
    except OSError:
        return None
    finally:
        os.close(place)


def serves(folder: Path) -> bool | None:
    """Whether it serves what is written; None where it does not answer."""
    info = ask(folder, "show info")
    if info is None:
        return None
    versions = [line.split()[1] for line in info.splitlines() if line.startswith("description: ") and line[13:].strip()]
    return bool(versions) and f"  description {versions[0]}\n" in (folder / FILE).read_text()


def take_up(folder: Path, reload: Callable[[], object], run_anew: Callable[[], object], what: str) -> bool:
    """Sees to it that it serves what is written: `reload` signals it, and where that does not help it is run anew. True
    where something had to be done.

    Raises:
        CloudError: it does not serve it all the same.
    """
    if serves(folder):
        return False
    if _told(folder, reload):
        return True
    run_anew()
    if not _told(folder, reload):
        raise CloudError("InternalError", f"{what} does not take up its configuration: {folder / FILE}")
    return True


def _told(folder: Path, reload: Callable[[], object]) -> bool:
    """Whether it serves what is written, told again and again. One that does not answer yet is not signalled: it would
    end."""

    def served() -> bool:
        answer = _awaited(folder, SERVING_SECONDS, lambda answer: answer is None)
        if answer is False:
            reload()
            answer = _awaited(folder, SIGNAL_SECONDS, lambda answer: not answer)
        return answer is True

    again = Retrying(
        stop=stop_after_delay(SERVING_SECONDS),
        retry=retry_if_result(lambda done: not done),
        retry_error_callback=lambda _: False,
    )
    return bool(again(served))


def _awaited(folder: Path, seconds: float, waiting: Callable[[bool | None], bool]) -> bool | None:
    """The first answer that is worth no more waiting, or the last one."""
    again = Retrying(
        stop=stop_after_delay(seconds),
        wait=wait_fixed(PAUSE_SECONDS),
        retry=retry_if_result(waiting),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    return again(serves, folder)


def wait_for_port(address: str, port: int, what: str, seconds: float = 20) -> None:
    failing = retry_if_exception_type(OSError)
    again = retry(stop=stop_after_delay(seconds), wait=wait_fixed(0.05), retry=failing, reraise=True)
    try:
        again(lambda: socket.create_connection((address, port), timeout=2).close())()
    except OSError as error:
        raise CloudError("InternalError", f"{what} does not listen on {address}:{port}: {error}") from error
