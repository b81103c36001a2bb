"""Publishes numbers and subscribes to them with paho-mqtt, until the file STOP exists.

usage: sequence.py PORT PROTOCOL QOS STOP TRANSPORT
TRANSPORT is `tcp`, `websockets`, or the file of a certificate to trust by TLS.
Prints `ready`, and at the end one line: published N received N repeated N disconnects N, with `missing` or `order`
before it if a number was missing or came late.
"""

import os
import sys
import threading
import time

import paho.mqtt.client as mqtt

PROTOCOLS = {"311": mqtt.MQTTv311, "5": mqtt.MQTTv5}
WINDOW = 200


def connected(port, version, transport, name, disconnects):
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=f"{name}-{os.getpid()}",
        protocol=version,
        reconnect_on_failure=False,
        transport="websockets" if transport == "websockets" else "tcp",
    )
    if os.path.exists(transport):
        client.tls_set(ca_certs=transport)
    client.max_inflight_messages_set(20)
    ready = threading.Event()
    client.on_connect = lambda *_: ready.set()
    client.on_disconnect = lambda _client, _data, flags, code, _properties: disconnects.append(
        (name, str(code))
    )
    client.connect("127.0.0.1", port, keepalive=10)
    client.loop_start()
    assert ready.wait(10), f"{name}: no CONNACK"
    return client


def main():
    port, version, qos, stop = int(sys.argv[1]), PROTOCOLS[sys.argv[2]], int(sys.argv[3]), sys.argv[4]
    transport = sys.argv[5]
    topic = f"sequence/{os.getpid()}"
    disconnects, got, subscribed = [], [], threading.Event()
    subscriber = connected(port, version, transport, "subscriber", disconnects)
    subscriber.on_message = lambda _client, _data, message: got.append(int(message.payload))
    subscriber.on_subscribe = lambda *_: subscribed.set()
    subscriber.subscribe(topic, qos)
    assert subscribed.wait(10), "no SUBACK"
    publisher = connected(port, version, transport, "publisher", disconnects)
    print("ready", flush=True)
    last, ended = 0, time.monotonic() + 100
    while not os.path.exists(stop) and time.monotonic() < ended:
        # No more than so many on their way: a queue that overflows would be no fault of a swap.
        if last - (got[-1] if got else 0) >= WINDOW:
            time.sleep(0.001)
            continue
        last += 1
        publisher.publish(topic, str(last), qos)
    ended = time.monotonic() + 20
    while (got[-1] if got else 0) < last and not disconnects and time.monotonic() < ended:
        time.sleep(0.01)
    time.sleep(0.2)
    numbers = set(got)
    if numbers != set(range(1, last + 1)):
        print("missing", sorted(set(range(1, last + 1)) - numbers)[:10])
    first = list(dict.fromkeys(got))
    if first != sorted(first):
        print("order")
    for name, code in disconnects:
        print("disconnect", name, code)
    print(f"published {last} received {len(numbers)} repeated {len(got) - len(numbers)} disconnects {len(disconnects)}")


main()
