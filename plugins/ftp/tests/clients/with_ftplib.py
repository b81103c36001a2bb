"""Python's ftplib against the server: what its users do all day.

Arguments: host, port, the folder the server serves.
"""

import ftplib
import io
import os
import sys
import threading

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def refused(code, call, *arguments):
    try:
        call(*arguments)
    except ftplib.Error as error:
        assert str(error).startswith(code), error
        return str(error)
    raise AssertionError(f"{call} {arguments} was not refused with {code}")


def connect(user="xzz", password="123456"):
    ftp = ftplib.FTP(timeout=30, encoding="utf-8")
    ftp.connect(HOST, PORT)
    ftp.login(user, password)
    return ftp


# T27: the wrong password, then the right one
ftp = ftplib.FTP(timeout=30)
ftp.connect(HOST, PORT)
refused("530", ftp.login, "xzz", "wrong")
refused("530", ftp.login, "nobody", "wrong")
ftp.close()

ftp = connect()
assert ftp.pwd() == "/"
assert ftp.mkd('a "quoted" folder') == '/a "quoted" folder'
ftp.cwd('a "quoted" folder')
assert ftp.pwd() == '/a "quoted" folder'

# T30: bytes stay bytes, text is converted
blob = bytes(range(256)) * 4096
ftp.storbinary("STOR blob.bin", io.BytesIO(blob))
assert ftp.size("blob.bin") == len(blob)
with open(os.path.join(FOLDER, 'a "quoted" folder', "blob.bin"), "rb") as file:
    assert file.read() == blob
back = io.BytesIO()
ftp.retrbinary("RETR blob.bin", back.write)
assert back.getvalue() == blob
ftp.storlines("STOR text.txt", io.BytesIO(b"one\ntwo\nthree\n"))
with open(os.path.join(FOLDER, 'a "quoted" folder', "text.txt"), "rb") as file:
    assert file.read() == b"one\ntwo\nthree\n"
lines = []
ftp.retrlines("RETR text.txt", lines.append)
assert lines == ["one", "two", "three"]

# T31: from the middle, both ways
back = io.BytesIO()
ftp.retrbinary("RETR blob.bin", back.write, rest=1000)
assert back.getvalue() == blob[1000:]
ftp.storbinary("STOR half.bin", io.BytesIO(blob[:5000]))
ftp.storbinary("STOR half.bin", io.BytesIO(blob[5000:]), rest=5000)
ftp.storbinary("APPE half.bin", io.BytesIO(b"end"))
with open(os.path.join(FOLDER, 'a "quoted" folder', "half.bin"), "rb") as file:
    assert file.read() == blob + b"end"

# listings of each kind, names of every alphabet
ftp.storbinary("STOR 中文 名.txt", io.BytesIO(b"x"))
assert ftp.nlst() == ["blob.bin", "half.bin", "text.txt", "中文 名.txt"], ftp.nlst()
facts = dict(ftp.mlsd(facts=["type", "size", "modify", "perm"]))
assert facts["text.txt"]["type"] == "file" and facts["text.txt"]["size"] == "14", facts
assert set("adfrw") == set(facts["text.txt"]["perm"]), facts
listing = []
ftp.dir(listing.append)
assert len(listing) == 4 and all(line.startswith("-rw") for line in listing), listing
assert ftp.sendcmd("MDTM text.txt").startswith("213 20")

# renaming and removing
ftp.rename("text.txt", "renamed.txt")
refused("550", ftp.size, "text.txt")
for name in ftp.nlst():
    ftp.delete(name)
refused("550", ftp.rmd, "/")
ftp.cwd("/")
ftp.rmd('a "quoted" folder')
assert ftp.nlst() == []

# T32: passive and active, IPv4 by either command
ftp.set_pasv(False)
ftp.storbinary("STOR active.bin", io.BytesIO(blob))
back = io.BytesIO()
ftp.retrbinary("RETR active.bin", back.write)
assert back.getvalue() == blob
ftp.set_pasv(True)

# T33: ABOR as ftplib sends it, with an urgent byte, in the middle of a download
with open(os.path.join(FOLDER, "big.bin"), "wb") as file:
    file.write(blob * 64)
data = ftp.transfercmd("RETR big.bin")
data.recv(1000)
assert ftp.abort()[:3] in ("426", "226")
data.close()
assert ftp.getresp().startswith("226")
assert ftp.pwd() == "/"
assert ftp.size("big.bin") == 64 * len(blob)

# T33: an upload that broke off leaves the file of that name as it was
ftp.storbinary("STOR kept.bin", io.BytesIO(b"the old one"))
other = connect()
data = other.transfercmd("STOR kept.bin")
data.sendall(b"half of the new one")
other.sock.close()
other.file.close()
data.close()
back = io.BytesIO()
ftp.retrbinary("RETR kept.bin", back.write)
assert back.getvalue() == b"the old one", back.getvalue()

# the account that may only read is told so
reader = connect("reader", "readonly")
assert "kept.bin" in reader.nlst()
reason = refused("553", reader.storbinary, "STOR new.bin", io.BytesIO(b"x"))
assert "no right" in reason, reason
reason = refused("553", reader.storbinary, "STOR kept.bin", io.BytesIO(b"x"))
assert "no right" in reason, reason
refused("550", reader.delete, "kept.bin")
refused("550", reader.mkd, "folder")
refused("550", reader.rename, "kept.bin", "other.bin")

# and so may clients without an account
anonymous = ftplib.FTP(timeout=30)
anonymous.connect(HOST, PORT)
anonymous.login()
assert "kept.bin" in anonymous.nlst()
refused("553", anonymous.storbinary, "STOR new.bin", io.BytesIO(b"x"))

# ten sessions at once
failures = []


def one_of_many(number):
    try:
        session = connect()
        content = os.urandom(200_000)
        for turn in range(5):
            session.storbinary(f"STOR many-{number}-{turn}", io.BytesIO(content))
            back = io.BytesIO()
            session.retrbinary(f"RETR many-{number}-{turn}", back.write)
            assert back.getvalue() == content
        session.quit()
    except Exception as error:
        failures.append(error)


threads = [threading.Thread(target=one_of_many, args=(number,)) for number in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
assert len([name for name in ftp.nlst() if name.startswith("many-")]) == 50
assert ftp.quit().startswith("221")
