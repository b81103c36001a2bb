"""Python's ftplib over TLS, explicit and implicit, with and without taking up the session.

Arguments: host, port, the folder the server serves, port of implicit TLS, file of the authority,
whether the server demands that sessions are taken up (yes or no).
"""

import ftplib
import io
import os
import socket
import ssl
import sys

HOST, PORT, FOLDER, IMPLICIT, AUTHORITY, DEMANDS = sys.argv[1:]
BLOB = bytes(range(256)) * 20000


class Explicit(ftplib.FTP_TLS):
    """Takes up the session of the control connection, as ftplib itself does not."""

    def ntransfercmd(self, cmd, rest=None):
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            connection = self.context.wrap_socket(
                connection, server_hostname=self.host, session=self.sock.session
            )
        return connection, size


class Implicit(Explicit):
    """TLS from the first byte."""

    def connect(self, host, port):
        self.host = host
        raw = socket.create_connection((host, port), timeout=30)
        self.sock = self.context.wrap_socket(raw, server_hostname=host)
        self.af = raw.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()


def context(version):
    made = ssl.create_default_context(cafile=AUTHORITY)
    made.minimum_version = made.maximum_version = version
    return made


def work(ftp, passive):
    ftp.set_pasv(passive)
    ftp.storbinary("STOR blob.bin", io.BytesIO(BLOB))
    with open(os.path.join(FOLDER, "blob.bin"), "rb") as file:
        assert file.read() == BLOB
    back = io.BytesIO()
    ftp.retrbinary("RETR blob.bin", back.write)
    assert back.getvalue() == BLOB
    # from the middle, both ways
    back = io.BytesIO()
    ftp.retrbinary("RETR blob.bin", back.write, rest=4_000_001)
    assert back.getvalue() == BLOB[4_000_001:]
    ftp.storbinary("STOR blob.bin", io.BytesIO(BLOB[1_000_000:]), rest=1_000_000)
    with open(os.path.join(FOLDER, "blob.bin"), "rb") as file:
        assert file.read() == BLOB
    assert ftp.nlst() == ["blob.bin"]
    assert [name for name, _ in ftp.mlsd()] == ["blob.bin"]
    ftp.delete("blob.bin")


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    for passive in (True, False):
        ftp = Explicit(context=context(version), timeout=30)
        ftp.connect(HOST, int(PORT))
        ftp.login("xzz", "123456")
        ftp.prot_p()
        work(ftp, passive)
        ftp.quit()
        ftp = Implicit(context=context(version), timeout=30)
        ftp.connect(HOST, int(IMPLICIT))
        ftp.login("xzz", "123456")
        ftp.prot_p()
        work(ftp, passive)
        ftp.quit()

    # as ftplib is
    ftp = ftplib.FTP_TLS(context=context(version), timeout=30)
    ftp.connect(HOST, int(PORT))
    ftp.login("xzz", "123456")
    ftp.prot_p()
    try:
        names = ftp.nlst()
    except ftplib.error_perm as error:
        assert DEMANDS == "yes" and str(error).startswith("522"), error
    else:
        assert DEMANDS == "no" and names == [], names
    ftp.quit()
