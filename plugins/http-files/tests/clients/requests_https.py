"""Reads and writes over HTTPS as a user of requests would: BASE CA CERTIFICATE TOKEN."""

import sys

import requests

base, authority, certificate, token = sys.argv[1:]
HELLO = b"abc"

# Nobody in particular may read; a certificate of another authority is not believed.
assert requests.get(f"{base}/a.txt", verify=authority).content == HELLO
try:
    requests.get(f"{base}/a.txt")
    raise AssertionError("an unknown authority was believed")
except requests.exceptions.SSLError:
    pass


class Bearer(requests.auth.AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


# Each way to say who it is.
ways = [
    dict(auth=("alice", "wonderland")),
    dict(auth=("alice", token)),
    dict(auth=Bearer(token)),
    dict(cert=certificate),
]
for number, way in enumerate(ways):
    with requests.Session() as session:
        # The environment may name another authority, and requests prefers it.
        session.trust_env = False
        session.verify = authority
        for name, value in way.items():
            setattr(session, name, value)
        for _ in range(3):
            assert session.put(f"{base}/by-{number}.txt", data=HELLO).status_code in (201, 204), way
        assert session.get(f"{base}/by-{number}.txt").content == HELLO
        folder = session.get(f"{base}/folder")
        assert folder.url == f"{base}/folder/" and "b.txt" in folder.text, folder.url

bad = requests.get(f"{base}/a.txt", auth=Bearer("bad"), verify=authority)
assert bad.status_code == 401 and bad.json()["title"] == "Unauthorized", bad.text
assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"], bad.headers
print("ok")
