"""Logs in by enhanced authentication: paho-mqtt speaks MQTT, scramp computes SCRAM-SHA-256.

usage: scram.py PORT USER PASSWORD [key=value ...]
Prints one line for each event: challenged [again] ROUNDS, connect RC, echo PAYLOAD, again, disconnect RC.
"""

import os
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from scramp import ScramClient

METHOD = "SCRAM-SHA-256"
AUTH = PacketTypes.AUTH << 4
SUCCESS, CONTINUE, AGAIN = b"\x00", b"\x18", b"\x19"
OPTIONS = {
    "client_id": "scram",
    "again": "",  # the password to authenticate with once more
    "begins": "client",  # "server": CONNECT names the method and nothing else
    "pause": "",  # wait for this file before each proof, and remove it
    "wait": "",  # "disconnect": stay until the server ends the connection
}


def say(*words):
    # One write for a line: callbacks run in another thread.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Client(mqtt.Client):
    """paho-mqtt has the properties, but does not answer AUTH."""

    def begin(self, user, password, pause, challenged="challenged"):
        # scramp leaves it to its user to escape names (RFC 5802, 5.1).
        user = user.replace("=", "=3D").replace(",", "=2C")
        self.exchange = ScramClient([METHOD], user, password)
        self.pause, self.challenged = pause, challenged
        return self.exchange.get_client_first().encode()

    def _packet_handle(self):
        if self._in_packet["command"] != AUTH:
            return super()._packet_handle()
        packet = bytes(self._in_packet["packet"])
        properties = Properties(PacketTypes.AUTH)
        properties.unpack(packet[1:])
        assert properties.AuthenticationMethod == METHOD
        if packet[:1] == SUCCESS:
            self.exchange.set_server_final(properties.AuthenticationData.decode())
            say("again")
            self.authenticated.set()
            return mqtt.MQTT_ERR_SUCCESS
        assert packet[:1] == CONTINUE, packet
        if not hasattr(properties, "AuthenticationData"):
            say("asked to begin")
            return self.send_auth(CONTINUE, self.first)
        challenge = properties.AuthenticationData.decode()
        self.exchange.set_server_first(challenge)
        say(self.challenged, challenge.split(",i=")[1])
        while self.pause and not os.path.exists(self.pause):
            time.sleep(0.01)
        if self.pause:
            os.remove(self.pause)
        return self.send_auth(CONTINUE, self.exchange.get_client_final().encode())

    def send_auth(self, reason, data):
        properties = Properties(PacketTypes.AUTH)
        properties.AuthenticationMethod = METHOD
        properties.AuthenticationData = data
        body = reason + properties.pack()
        packet = bytearray([AUTH]) + self.remaining(len(body)) + body
        return self._packet_queue(AUTH, packet, 0, 0)

    @staticmethod
    def remaining(length):
        encoded = bytearray()
        while length > 127:
            encoded.append(length & 127 | 128)
            length >>= 7
        encoded.append(length)
        return encoded


def main():
    port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    options = dict(OPTIONS)
    for argument in sys.argv[4:]:
        key, value = argument.split("=", 1)
        assert key in options, key
        options[key] = value
    client = Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=options["client_id"],
        protocol=mqtt.MQTTv5,
        reconnect_on_failure=False,
    )
    client.authenticated = threading.Event()
    connected, echoed, ended = (threading.Event() for _ in range(3))
    codes = []

    def on_connect(_client, _userdata, _flags, code, properties):
        if not code.is_failure:
            assert properties.AuthenticationMethod == METHOD
            # Raises unless the server knows the verifier.
            client.exchange.set_server_final(properties.AuthenticationData.decode())
        codes.append(code.value)
        say("connect", code.value)
        connected.set()

    def on_message(_client, _userdata, message):
        say("echo", message.payload.decode())
        echoed.set()

    def on_disconnect(_client, _userdata, _flags, code, _properties):
        say("disconnect", code.value)
        ended.set()

    client.on_connect, client.on_message, client.on_disconnect = on_connect, on_message, on_disconnect
    first = client.begin(user, password, options["pause"])
    client.first = first
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = METHOD
    if options["begins"] == "client":
        properties.AuthenticationData = first
    client.connect("127.0.0.1", port, properties=properties)
    client.loop_start()
    assert connected.wait(20)
    if codes[0] != 0:
        return codes[0]

    def echo(text):
        echoed.clear()
        client.publish("echo/" + options["client_id"], text, qos=1)
        assert echoed.wait(20)

    client.subscribe("echo/" + options["client_id"])
    echo("first")
    if options["again"]:
        first = client.begin(user, options["again"], options["pause"], "challenged again")
        client.send_auth(AGAIN, first)
        while not client.authenticated.wait(0.01):
            if ended.is_set():
                return 1
        echo("second")
    if options["wait"] == "disconnect":
        assert ended.wait(60)
        return 0
    client.disconnect()
    assert ended.wait(20)
    return 0


sys.exit(main())
