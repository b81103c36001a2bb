"""What the scripts among the loads share: lines for the benchmark, and the end by SIGTERM."""

import signal
import socket
import sys
import threading

over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
lock = threading.Lock()


def tell(line):
    with lock:
        print(line.replace("\n", " "), flush=True)


def done(number=1):
    tell(f"done {number}")


def fail(kind, what):
    tell(f"fail {kind} {what}")


def kind_of(error):
    """The word for an exception of a socket."""
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionError, EOFError)):
        return "reset"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "other"
    return "bytes"


def run(*works):
    """Runs functions in threads until SIGTERM; each is called again when it raises."""

    def repeat(work):
        while not over.is_set():
            try:
                work()
            except Exception as error:  # noqa: every failure is counted
                fail(kind_of(error), f"{work.__name__}: {type(error).__name__}: {error}")
                over.wait(0.1)

    threads = [threading.Thread(target=repeat, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    over.wait()
    for thread in threads:
        thread.join(20)
        if thread.is_alive():
            fail("other", "a thread does not end")
            sys.exit(1)
