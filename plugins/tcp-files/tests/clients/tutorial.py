"""Clients as one writes them after reading about sticky packets: a download and a login.

Arguments: host, port, a folder to write to.
"""

import json
import os
import socket
import struct
import sys

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def connect():
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(30)
    client.connect((HOST, PORT))
    return client


# T22: the request bare, then 4 bytes of length, the header, the file
client = connect()
client.send(json.dumps({"cmd": "get", "file": "cyjl.rmvb"}).encode("utf-8"))
header_size = struct.unpack("i", client.recv(4))[0]
header = json.loads(client.recv(header_size).decode("utf-8"))
assert header["filename"] == "cyjl.rmvb", header
assert list(header) == ["filename", "file_size"], header
received = 0
with open(os.path.join(FOLDER, header["filename"]), "wb") as file:
    while received < header["file_size"]:
        data = client.recv(1024)
        assert data
        file.write(data)
        received += len(data)
assert received == header["file_size"]
client.close()


# T23: exactly 1024 bytes, read by one call
def auth(client, username, password):
    request = {"action_type": "auth", "username": username, "password": password}
    client.send(json.dumps(request).encode("utf-8"))
    data = client.recv(1024)
    assert len(data) == 1024, len(data)
    return json.loads(data.decode("utf-8"))


client = connect()
response = auth(client, "xzz", "123456")
assert list(response) == ["status_code", "status_msg", "fill"], response
assert response["status_code"] == 200 and response["status_msg"] == "passed", response
assert set(response["fill"]) == {"0"}, response
# what the tutorial's server would have sent
again = json.dumps({"status_code": 200, "status_msg": "passed", "fill": ""})
again = {"status_code": 200, "status_msg": "passed", "fill": "".zfill(1024 - len(again))}
assert json.dumps(again) == json.dumps(response)

client = connect()
assert auth(client, "xzz", "wrong")["status_code"] == 201
assert auth(client, "nobody", "123456")["status_code"] == 201
assert auth(client, "xzz", "123456")["status_code"] == 200

# T22: an unknown file; a client that reads the length first reads a header with status 300
client.send(json.dumps({"cmd": "get", "file": "missing.txt"}).encode("utf-8"))
header_size = struct.unpack("i", client.recv(4))[0]
assert header_size == 1024, header_size
header = json.loads(client.recv(header_size).decode("utf-8"))
assert header["status_code"] == 300, header

# T21: the request behind its length, in two pieces, and two requests in one piece
request = json.dumps({"cmd": "get", "file": "中文.txt"}).encode("utf-8")
message = struct.pack("i", len(request)) + request
client.send(message[:7])
client.send(message[7:] + message)
for _ in range(2):
    header = json.loads(client.recv(struct.unpack("i", client.recv(4))[0]).decode("utf-8"))
    assert header == {"filename": "中文.txt", "file_size": 5}, header
    assert client.recv(5) == b"hello"
client.close()
