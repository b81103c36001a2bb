"""JSON writes and reads over connections that stay open; each write is read back, by a reader of its own."""

import base64
import http.client
import json
import random
import sys

from load import done, fail, over, run

port = int(sys.argv[1])
login = {"Authorization": "Basic " + base64.b64encode(b"bench:bench").decode()}


def ask(connection, method, path, body=None):
    headers = dict(login)
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def client(name, pause):
    def documents():
        writer = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        reader = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        number = 0
        try:
            while not over.is_set():
                number += 1
                path = f"/reload/{name}-{number % 50}"
                body = json.dumps({"n": number, "text": "x" * random.randint(0, 4000)}).encode()
                status, _ = ask(writer, "PUT", path, body)
                if status not in (200, 201):
                    fail("bytes", f"PUT {path}: {status}")
                status, stored = ask(reader, "GET", path)
                if status != 200 or stored != body:
                    fail("bytes", f"GET {path}: {status}, {len(stored)} bytes of {len(body)}")
                done(2)
                over.wait(pause)
        finally:
            writer.close()
            reader.close()

    documents.__name__ = name
    return documents


run(client("busy", 0.005), client("idle", 0.05), client("rare", 0.4))
