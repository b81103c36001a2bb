"""Python's ftplib on one control connection while the instance behind it is replaced again and again. A command or
a transfer that fails ends it with an error. Argument: the port."""

import ftplib
import hashlib
import io
import sys
import time

ftp = ftplib.FTP(timeout=30, encoding="utf-8")
ftp.connect("127.0.0.1", int(sys.argv[1]))
ftp.login("xzz", "123456")
ftp.mkd("work")
ftp.cwd("work")
block = hashlib.sha256(b"begin").digest() * 8192
begin, rounds = time.monotonic(), 0
while time.monotonic() - begin < 8:
    ftp.storbinary(f"STOR {rounds}.bin", io.BytesIO(block))
    assert ftp.size(f"{rounds}.bin") == len(block)
    back = io.BytesIO()
    ftp.retrbinary(f"RETR {rounds}.bin", back.write, rest=1000)
    assert back.getvalue() == block[1000:]
    assert [name for name, _ in ftp.mlsd()] == [f"{rounds}.bin"]
    assert ftp.nlst() == [f"{rounds}.bin"]
    ftp.rename(f"{rounds}.bin", "other.bin")
    ftp.storlines("APPE other.bin", io.BytesIO(b"line\n"))
    assert ftp.size("other.bin") == len(block) + 5
    ftp.delete("other.bin")
    assert ftp.pwd() == "/work"
    ftp.voidcmd("NOOP")
    # the moment in which nothing is under way
    time.sleep(0.02)
    rounds += 1
ftp.quit()
print(f"{rounds} rounds")
