"""A client as one writes it after reading about FTP: sockets, recv(1024), a slice of the 227 line.

Arguments: host, port, the folder the server serves.
"""

import os
import socket
import sys

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
SIZE = 3_000_000


def say(control, command):
    control.sendall((command + "\r\n").encode("utf-8"))
    reply = control.recv(1024).decode("utf-8")
    print(command, "->", reply.strip())
    return reply


def login():
    control = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    control.settimeout(30)
    control.connect((HOST, PORT))
    assert control.recv(1024).startswith(b"220 ")
    assert say(control, "USER xzz") == "331 Please specify the password.\r\n"
    assert say(control, "PASS 123456") == "230 Login successful.\r\n"
    assert say(control, "TYPE A") == "200 Switching to ASCII mode.\r\n"
    return control


def passive(control):
    text = say(control, "PASV")[26:].rstrip(".\r\n")
    numbers = eval(text)
    data = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    data.settimeout(30)
    # the address stays, only the port is computed
    data.connect((HOST, numbers[4] * 256 + numbers[5]))
    return data


os.makedirs(os.path.join(FOLDER, "xzztest"))
with open(os.path.join(FOLDER, "xzztest", "test1.txt"), "wb") as file:
    file.write(b"1" * 25 + b"\n")
film = b".RMF\x00\x00\x00\x12" + os.urandom(SIZE)
with open(os.path.join(FOLDER, "xzztest", "cyjl.rmvb"), "wb") as file:
    file.write(film)

# T27 T28: the folder, with the data connection opened before the changes of directory
control = login()
data = passive(control)
assert say(control, "PWD").startswith('257 "/"')
assert say(control, "CWD xzztest").startswith("250 ")
assert say(control, "PWD").startswith('257 "/xzztest"')
control.sendall(b"LIST\r\n")
# T29: the data is read before the 150
listing = data.recv(1024).decode("utf-8")
lines = listing.split("\r\n")
assert len(lines) == 3 and lines[2] == "", lines
columns = lines[1].split()
assert columns[0].startswith("-rw") and columns[4] == "26" and columns[8] == "test1.txt", lines
control.close()
data.close()

# T28 T30: a film in TYPE A, written as binary, is whole
control = login()
data = passive(control)
say(control, "CWD xzztest")
say(control, "PWD")
assert say(control, "SIZE test1.txt") == "213 26\r\n"
size = int(say(control, "SIZE cyjl.rmvb")[4:])
assert size == len(film)
control.sendall(b"RETR cyjl.rmvb\r\n")
received = b""
while len(received) < size:
    received += data.recv(4096)
assert received == film
data.close()
control.sendall(b"QUIT\r\n")
replies = b""
while b"221 " not in replies:
    replies += control.recv(1024)
assert b"150 " in replies and b"226 Transfer complete.\r\n" in replies, replies
control.close()

# T31: going on in the middle of it
control = login()
data = passive(control)
say(control, "CWD xzztest")
say(control, "TYPE I")
assert say(control, "REST 1000001").startswith("350 ")
control.sendall(b"RETR cyjl.rmvb\r\n")
rest = b""
while len(rest) < size - 1000001:
    rest += data.recv(4096)
assert rest == film[1000001:]
data.close()
control.close()

# T28: an upload; the control connection is closed first, without QUIT
for content in (b"12345678910\r\n",):
    control = login()
    data = passive(control)
    say(control, "CWD xzztest")
    assert say(control, "STOR upload.txt") == "150 Ok to send data.\r\n"
    data.sendall(content)
    control.close()
    data.close()

# T33: many transfers on one connection
control = login()
for _ in range(50):
    data = passive(control)
    control.sendall(b"LIST xzztest\r\n")
    while data.recv(1024):
        pass
    data.close()
    replies = b""
    while b"226 " not in replies:
        replies += control.recv(1024)
    data = passive(control)
    control.sendall(b"RETR xzztest/test1.txt\r\n")
    assert data.recv(1024) == b"1" * 25 + b"\r\n"
    data.close()
    replies = b""
    while b"226 " not in replies:
        replies += control.recv(1024)

# T32: a refused upload says why
say(control, "CWD /")
data = passive(control)
refused = say(control, "STOR nowhere/upload.txt")
assert refused.startswith("553 Could not create file."), refused
assert "No such file or directory" in refused, refused
data.close()
assert say(control, "QUIT").startswith("221 ")
control.close()
