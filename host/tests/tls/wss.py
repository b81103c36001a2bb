"""Subscribes and publishes by MQTT over WebSocket over TLS: PORT USER PASSWORD CAFILE."""

import sys
import threading

import paho.mqtt.client as mqtt

port, user, password, cafile = sys.argv[1:]
done = threading.Event()


def subscribed(client, *_):
    client.publish("a/b", "over wss", qos=1)


def received(client, _, message):
    print(f"got {message.topic}: {message.payload.decode()}")
    done.set()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport="websockets")
client.username_pw_set(user, password)
client.ws_set_options(path="/mqtt")
client.tls_set(ca_certs=cafile)
client.on_connect = lambda client, *_: client.subscribe("a/b", qos=1)
client.on_subscribe = subscribed
client.on_message = received
client.connect("127.0.0.1", int(port))
client.loop_start()
ok = done.wait(20)
client.disconnect()
client.loop_stop()
sys.exit(0 if ok else 1)
