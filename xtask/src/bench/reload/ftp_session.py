"""FTP control connections that stay open for as long as the benchmark lasts."""

import ftplib
import io
import sys

from load import done, fail, over, run

port, folder = int(sys.argv[1]), sys.argv[2]
with open(f"{folder}/medium.bin", "rb") as file:
    content = file.read()


def expect(what, got, expected):
    if got != expected:
        fail("bytes", f"{what}: expected {expected!r}, got {got!r}")


def client(name, pause):
    def session():
        ftp = ftplib.FTP()
        ftp.connect("127.0.0.1", port, timeout=20)
        expect("login", ftp.login("bench", "bench")[:3], "230")
        ftp.cwd("/up")
        upload = f"session-{name}.bin"
        while not over.is_set():
            # What the session knows has to be known ever after: the folder, the type, the account.
            expect("PWD", ftp.pwd(), "/up")
            expect("NOOP", ftp.voidcmd("NOOP")[:3], "200")
            over.wait(pause)
            data = bytearray()
            ftp.retrbinary("RETR /medium.bin", data.extend)
            expect("RETR", data == content, True)
            ftp.storbinary(f"STOR {upload}", io.BytesIO(content))
            expect("SIZE", ftp.size(upload), len(content))
            expect("NLST", upload in ftp.nlst(), True)
            with open(f"{folder}/up/{upload}", "rb") as file:
                expect("STOR", file.read() == content, True)
            ftp.cwd("/")
            ftp.cwd("up")
            done(8)
            over.wait(pause)
        ftp.quit()

    session.__name__ = name
    return session


run(client("quick", 0.05), client("slow", 1.0))
