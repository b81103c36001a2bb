"""Pairs of paho clients: QoS 1 and 2, with and without a session that is kept, 3.1.1 and 5.0. Each message has its
number in the publisher's order."""

import sys
import threading
import time

import paho.mqtt.client as mqtt

from load import done, fail, over

port = int(sys.argv[1])
PAUSE = 0.05
# What is missing for so long is lost.
PATIENCE = 10.0


class Pair:
    def __init__(self, name, version, qos, clean):
        self.name, self.qos, self.topic = name, qos, f"paho/{name}"
        self.ending = False
        self.lock = threading.Lock()
        self.next, self.missing, self.sent = 0, {}, 0
        self.subscribed = threading.Event()
        self.subscriber = self.client(name + "-sub", version, clean)
        self.publisher = self.client(name + "-pub", version, clean)
        self.subscriber.on_message = self.on_message
        self.subscriber.on_subscribe = lambda *_: self.subscribed.set()
        self.subscriber.on_connect = lambda client, *_: client.subscribe(self.topic, qos)
        for client in (self.subscriber, self.publisher):
            client.on_disconnect = self.on_disconnect
            client.connect("127.0.0.1", port, keepalive=20)
            client.loop_start()
        if not self.subscribed.wait(20):
            fail("other", f"{name}: no SUBACK")

    def client(self, name, version, clean):
        arguments = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=version, **arguments)
        client.username_pw_set("bench", "bench")
        client.reconnect_delay_set(1, 1)
        return client

    def on_disconnect(self, client, _data, _flags, reason, _properties):
        if not self.ending:
            fail("disconnected", f"{self.name}: {reason}")

    def on_message(self, _client, _data, message):
        number = int(message.payload)
        with self.lock:
            if number >= self.next:
                for missing in range(self.next, number):
                    self.missing[missing] = time.monotonic()
                self.next = number + 1
            elif self.missing.pop(number, None) is None and self.qos == 2:
                fail("duplicate", f"{self.name}: {number}")

    def publish(self):
        self.publisher.publish(self.topic, str(self.sent), self.qos)
        self.sent += 1

    def overdue(self, patience):
        with self.lock:
            limit = time.monotonic() - patience
            for number in [number for number, since in self.missing.items() if since <= limit]:
                del self.missing[number]
                fail("lost", f"{self.name}: {number}")

    def end(self):
        deadline = time.monotonic() + PATIENCE
        while self.next < self.sent and time.monotonic() < deadline:
            time.sleep(0.02)
        self.overdue(0)
        for number in range(self.next, self.sent):
            fail("lost", f"{self.name}: {number}")
        self.ending = True
        for client in (self.subscriber, self.publisher):
            client.disconnect()
            client.loop_stop()


pairs = [
    Pair(f"v{version}-qos{qos}-{'clean' if clean else 'kept'}", version, qos, clean)
    for version, qos, clean in [
        (mqtt.MQTTv311, 1, True),
        (mqtt.MQTTv311, 1, False),
        (mqtt.MQTTv311, 2, True),
        (mqtt.MQTTv311, 2, False),
        (mqtt.MQTTv5, 1, True),
        (mqtt.MQTTv5, 2, True),
    ]
]
while not over.is_set():
    for pair in pairs:
        pair.publish()
        pair.overdue(PATIENCE)
    done(len(pairs))
    over.wait(PAUSE)
for pair in pairs:
    pair.end()
