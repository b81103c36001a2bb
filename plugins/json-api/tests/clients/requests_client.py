"""Drives the JSON API as a user of requests and urllib3 would: BASE DEVICE_FILE."""

import json
import sys

import requests
import urllib3

base, device_file = sys.argv[1:]
with open(device_file, "rb") as file:
    device = file.read()
alice = ("alice", "wonderland")

# requests: the json= argument, a session that keeps its connection, problem+json errors.
with requests.Session() as session:
    session.auth = alice
    made = session.post(f"{base}/devices", json={"k": 5.7865, "note": None})
    assert made.status_code == 201, (made.status_code, made.text)
    assert made.headers["Content-Type"] == "application/json"
    where = base + made.headers["Location"]
    assert session.get(where).json() == {"k": 5.7865, "note": None}

    stored = session.put(f"{base}/devices/one", data=device, headers={"Content-Type": "application/json"})
    assert stored.status_code == 201 and stored.content == device
    etag = stored.headers["ETag"]

    seen = session.get(f"{base}/devices/one", headers={"If-None-Match": etag})
    assert seen.status_code == 304 and seen.content == b""

    changed = session.patch(
        f"{base}/devices/one",
        data=json.dumps([{"op": "replace", "path": "/bunks/0/gravity_sensors/0/k", "value": 6}]),
        headers={"Content-Type": "application/json-patch+json", "If-Match": etag},
    )
    assert changed.status_code == 200, changed.text
    assert changed.json()["bunks"][0]["gravity_sensors"][0]["k"] == 6
    assert list(changed.json()) == list(json.loads(device))

    late = session.delete(f"{base}/devices/one", headers={"If-Match": etag})
    assert late.status_code == 412 and late.json()["title"] == "Precondition Failed", late.text

    listed = session.get(f"{base}/devices", params={"limit": 1})
    assert listed.headers["X-Total-Count"] == "2"
    rest = session.get(base + listed.links["next"]["url"]).json()
    ids = [entry["id"] for entry in listed.json()["documents"] + rest["documents"]]
    assert sorted(ids) == ids and "one" in ids and len(ids) == 2, ids

    assert session.delete(where).status_code == 204
    assert session.get(where).status_code == 404

refused = requests.put(f"{base}/devices/two", json={})
assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic realm=")

# urllib3: an upload in chunks, and a form that is none of this API's types.
pool = urllib3.PoolManager()
auth = urllib3.make_headers(basic_auth=":".join(alice))
chunked = pool.request(
    "PUT",
    f"{base}/devices/two",
    body=(device[start : start + 100] for start in range(0, len(device), 100)),
    headers={**auth, "Content-Type": "application/json"},
)
assert chunked.status == 201 and chunked.data == device, (chunked.status, chunked.data)
form = pool.request("POST", f"{base}/devices", fields={"a": "b"}, headers=auth)
assert form.status == 415, form.status
assert "application/json" in json.loads(form.data)["detail"]
print("done")
