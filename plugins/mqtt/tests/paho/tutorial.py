"""A client as the tutorial describes it, with paho-mqtt: connect, subscribe, publish, print what happens.

usage: tutorial.py PORT [key=value ...]
Prints one line for each event: connect RC, message TOPIC QOS RETAIN PAYLOAD, disconnect RC, published.
"""

import sys
import threading

import paho.mqtt.client as mqtt

OPTIONS = {
    "client_id": "",
    "clean": "1",
    "protocol": "311",
    "transport": "tcp",
    "username": None,
    "password": None,
    "keepalive": "60",
    "subscribe": "",  # topic:qos,topic:qos
    "publish": "",  # topic:qos:payload,...
    "count": "0",  # messages to wait for
    "stay": "0",  # seconds to listen after everything else
    "wait": "",  # "disconnect": stay until the server ends the connection
}
PROTOCOLS = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}


def main():
    port = int(sys.argv[1])
    options = dict(OPTIONS)
    for argument in sys.argv[2:]:
        key, value = argument.split("=", 1)
        assert key in options, key
        options[key] = value
    version = PROTOCOLS[options["protocol"]]
    v5 = version == mqtt.MQTTv5
    arguments = {} if v5 else {"clean_session": options["clean"] == "1"}
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=options["client_id"],
        protocol=version,
        transport=options["transport"],
        reconnect_on_failure=False,
        **arguments,
    )
    if options["transport"] == "websockets":
        client.ws_set_options(path="/mqtt")
    if options["username"] is not None:
        client.username_pw_set(options["username"], options["password"])

    connected, enough, subscribed, ended = (threading.Event() for _ in range(4))
    codes = []
    left = [int(options["count"])]

    def say(*words):
        # One write for a line: callbacks run in another thread.
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()

    def on_connect(client, userdata, flags, reason, properties):
        codes.append(reason.value)
        say("connect", reason.value, "present" if flags.session_present else "new")
        connected.set()

    def on_subscribe(client, userdata, mid, reasons, properties):
        say("granted", *[reason.value for reason in reasons])
        subscribed.set()

    def on_message(client, userdata, message):
        say("message", message.topic, message.qos, int(message.retain), message.payload.decode())
        left[0] -= 1
        if left[0] <= 0:
            enough.set()

    def on_disconnect(client, userdata, flags, reason, properties):
        say("disconnect", reason.value, "server" if flags.is_disconnect_packet_from_server else "local")
        ended.set()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.on_disconnect = on_disconnect
    if left[0] == 0:
        enough.set()

    client.connect("127.0.0.1", port, int(options["keepalive"]))
    client.loop_start()
    assert connected.wait(20), "no CONNACK"
    if codes[0] != 0:
        client.loop_stop()
        return
    if options["subscribe"]:
        topics = [entry.rsplit(":", 1) for entry in options["subscribe"].split(",")]
        client.subscribe([(topic, int(qos)) for topic, qos in topics])
        assert subscribed.wait(20), "no SUBACK"
    for entry in filter(None, options["publish"].split(",")):
        topic, qos, payload = entry.split(":", 2)
        client.publish(topic, payload, int(qos)).wait_for_publish(20)
        say("published", topic, payload)
    assert enough.wait(20), "messages are missing"
    if options["wait"] == "disconnect":
        say("waiting")
        assert ended.wait(25), "the connection did not end"
    else:
        assert not ended.wait(float(options["stay"])), "the connection ended"
        client.disconnect()
        assert ended.wait(20), "no end"
    client.loop_stop()


main()
