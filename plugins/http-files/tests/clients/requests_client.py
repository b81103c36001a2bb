"""Reads and writes files as a user of requests and urllib3 would: BASE FILE SHA256."""

import hashlib
import io
import sys
import zipfile
import tarfile

import requests
import urllib3

base, upload, digest = sys.argv[1:]
alice = ("alice", "wonderland")

# urllib3: the tutorial's own calls, a status and the data.
http = urllib3.PoolManager()
page = http.request("GET", f"{base}/site/")
assert page.status == 200 and page.data == b"<h1>site</h1>", (page.status, page.data)
part = http.request("GET", f"{base}/hello.txt", headers={"Range": "bytes=0-10"})
assert part.status == 206 and part.data == b"abcdefghijk", (part.status, part.data)
assert part.headers["Content-Range"] == "bytes 0-10/32"
head = http.request("HEAD", f"{base}/hello.txt")
assert head.status == 200 and head.headers["Content-Length"] == "32" and head.data == b""
assert http.request("GET", f"{base}/none").status == 404

# requests: a session keeps its connection over redirects, errors and conditions.
with requests.Session() as session:
    first = session.get(f"{base}/hello.txt")
    assert first.ok and first.text == "abcdefghijklmnopqrstuvwxyz012345" and first.encoding == "utf-8"
    again = session.get(f"{base}/hello.txt", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""
    folder = session.get(f"{base}/list", headers={"Accept": "application/json"})
    assert folder.history[0].status_code == 301 and folder.url == f"{base}/list/"
    names = [entry["name"] for entry in folder.json()["entries"]]
    assert names == ["b c", "\u20ac.txt"], names
    euro = session.get(f"{base}/list/\u20ac.txt")
    assert euro.content == b"euro", euro.content
    assert "filename*=UTF-8''%E2%82%AC.txt" in euro.headers["Content-Disposition"]

    # Uploads: refused without an account after the whole body was sent, then by PUT and by form.
    with open(upload, "rb") as file:
        refused = session.put(f"{base}/put.bin", data=file)
    assert refused.status_code == 401 and refused.json()["title"] == "Unauthorized", refused.text
    assert "Basic" in refused.headers["WWW-Authenticate"]
    session.auth = alice
    with open(upload, "rb") as file:
        made = session.put(f"{base}/put.bin", data=file)
    assert made.status_code == 201, (made.status_code, made.text)
    with open(upload, "rb") as file:
        made = session.post(f"{base}/list/", files={"path": ("form.bin", file)})
    assert made.status_code == 201, (made.status_code, made.text)

    def pieces():
        with open(upload, "rb") as file:
            while piece := file.read(100_000):
                yield piece

    made = session.put(f"{base}/chunked.bin", data=pieces())
    assert made.status_code == 201, (made.status_code, made.text)
    for path in ("put.bin", "list/form.bin", "chunked.bin"):
        with session.get(f"{base}/{path}", stream=True) as got:
            sha = hashlib.sha256()
            for piece in got.iter_content(1 << 20):
                sha.update(piece)
        assert sha.hexdigest() == digest, path

    # The whole folder as an archive, read by Python's own modules.
    tar = session.get(f"{base}/list/?archive=tar.gz")
    assert tar.headers["Content-Disposition"] == 'attachment; filename="list.tar.gz"'
    with tarfile.open(fileobj=io.BytesIO(tar.content), mode="r:gz") as archive:
        names = sorted(archive.getnames())
        assert names == ["list", "list/b c", "list/b c/deep.txt", "list/form.bin", "list/\u20ac.txt"], names
        assert hashlib.sha256(archive.extractfile("list/form.bin").read()).hexdigest() == digest
    zipped = session.get(f"{base}/list/?archive=zip")
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert archive.testzip() is None
        names = sorted(archive.namelist())
        assert names == ["list/", "list/b c/", "list/b c/deep.txt", "list/form.bin", "list/\u20ac.txt"], names
        assert hashlib.sha256(archive.read("list/form.bin")).hexdigest() == digest

print("done")
