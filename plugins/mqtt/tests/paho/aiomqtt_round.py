"""What aiomqtt does with a broker: usage: aiomqtt_round.py PORT tcp|websockets VERSION

With CA in the environment it uses TLS and trusts the authority in that file; CERT and KEY name the files of its own
certificate, if it has one. Prints one line for each thing that works, and `done`.
"""

import asyncio
import os
import sys

import aiomqtt
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, TRANSPORT, VERSION = int(sys.argv[1]), sys.argv[2], sys.argv[3]
FIVE = VERSION == "5"


def client(name, **options):
    if TRANSPORT == "websockets":
        options["websocket_path"] = "/mqtt"
    if "CA" in os.environ:
        own = os.environ.get("CERT"), os.environ.get("KEY")
        options["tls_params"] = aiomqtt.TLSParameters(ca_certs=os.environ["CA"], certfile=own[0], keyfile=own[1])
    version = aiomqtt.ProtocolVersion.V5 if FIVE else aiomqtt.ProtocolVersion.V311
    return aiomqtt.Client(
        "127.0.0.1", PORT, identifier=f"aio-{name}-{os.getpid()}", protocol=version, transport=TRANSPORT, **options
    )


def kept():
    if not FIVE:
        return {"clean_session": False}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 60
    return {"clean_start": False, "properties": properties}


async def main():
    async with client("k", **kept()) as away:
        await away.subscribe("later", qos=2)
    will = aiomqtt.Will("will", "gone", qos=1)
    async with client("s") as subscriber:
        await subscriber.subscribe([("q/+", 2), ("will", 1)])
        messages = aiter(subscriber.messages)
        async with client("p", will=will) as publisher:
            for qos in (0, 1, 2):
                properties = None
                if FIVE:
                    properties = Properties(PacketTypes.PUBLISH)
                    properties.UserProperty = ("a", "b")
                    properties.ResponseTopic = "answer"
                await publisher.publish(f"q/{qos}", f"qos {qos}", qos=qos, properties=properties)
                message = await anext(messages)
                assert (message.payload.decode(), message.qos) == (f"qos {qos}", qos), message
                if FIVE:
                    assert message.properties.UserProperty == [("a", "b")], message.properties
                print("qos", qos)
            await publisher.publish("kept", "still", qos=1, retain=True)
            await subscriber.subscribe("kept", qos=1)
            message = await anext(messages)
            assert (message.payload, message.retain) == (b"still", True), message
            await publisher.publish("kept", "", qos=1, retain=True)
            await anext(messages)
            print("retained")
            await publisher.publish("later", "while away", qos=2)
        async with client("w", will=will) as doomed:
            # Without DISCONNECT.
            doomed._client._sock_close()
            message = await anext(messages)
            assert message.payload == b"gone", message
            print("will")
            doomed._client.reconnect()
            await asyncio.sleep(0)
    async with client("k", **kept()) as again:
        message = await anext(aiter(again.messages))
        assert message.payload == b"while away", message
        print("session")
    print("done")


asyncio.run(asyncio.wait_for(main(), 25))
