"""Keeps connections with TLS while the instance behind them is replaced: each ends with a whole response and
close_notify. Arguments: port, authority, a file that is there once the instance was replaced."""

import os
import socket
import ssl
import sys
import time

port, authority, go = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=authority)


def connect():
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    # an end without close_notify is an error
    return context.wrap_socket(
        plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
    )


def send(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def answer(connection):
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, f"the end after {received!r}"
        received += piece
    head, body = received.split(b"\r\n\r\n", 1)
    body = bytearray(body)
    fields = dict(
        line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:]
    )
    while len(body) < int(fields["content-length"]):
        piece = connection.recv(65536)
        assert piece, f"the end after {len(body)} bytes"
        body += piece
    assert len(body) == int(fields["content-length"])
    return fields, body


def end(connection):
    try:
        rest = connection.recv(1)
    except ssl.SSLZeroReturnError:
        rest = b""
    assert rest == b"", rest
    connection.close()


idle, asks, downloads = connect(), connect(), connect()
for connection in idle, asks, downloads:
    send(connection, "/which.txt")
    fields, body = answer(connection)
    assert body == b"one" and "connection" not in fields, fields
send(downloads, "/big.bin")
print("all connections are open", flush=True)
while not os.path.exists(go):
    time.sleep(0.01)

# one more request is answered, by the instance that was replaced
send(asks, "/which.txt")
fields, body = answer(asks)
assert body == b"one" and fields["connection"] == "close", fields
end(asks)
fields, body = answer(downloads)
assert len(body) == 64 << 20, len(body)
if fields.get("connection") != "close":
    # its head was on the way before the instance was replaced, the body was not
    send(downloads, "/which.txt")
    fields, body = answer(downloads)
    assert body == b"one" and fields["connection"] == "close", fields
end(downloads)
begin = time.monotonic()
end(idle)
assert time.monotonic() - begin < 10
print("ok")
