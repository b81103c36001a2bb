// What MQTT.js does with a broker: usage: round.js PORT tcp|ws|tls|wss VERSION
// With TLS, CA names the file of the authority, and CERT and KEY those of the client's certificate, if it has one.
// Prints one line for each thing that works, and `done`.
"use strict";
const assert = require("assert");
const fs = require("fs");
const mqtt = require("mqtt");

const [port, transport, version] = process.argv.slice(2);
const five = version === "5";
const scheme = { tcp: "mqtt", tls: "mqtts" }[transport] ?? transport;
const url = `${scheme}://127.0.0.1:${port}${scheme.startsWith("ws") ? "/mqtt" : ""}`;
const file = (name) => process.env[name] && fs.readFileSync(process.env[name]);
const base = { protocolVersion: five ? 5 : 4, reconnectPeriod: 0, ca: file("CA"), cert: file("CERT"), key: file("KEY") };
const connect = (options) => mqtt.connectAsync(url, { ...base, ...options });
const next = (client) =>
  new Promise((resolve) => client.once("message", (topic, payload, packet) => resolve([topic, payload.toString(), packet])));

async function main() {
  const subscriber = await connect({ clientId: `js-s-${process.pid}` });
  await subscriber.subscribeAsync(["q/+", "will"], { qos: 2 });
  const publisher = await connect({
    clientId: `js-p-${process.pid}`,
    will: { topic: "will", payload: Buffer.from("gone"), qos: 1 },
  });
  for (const qos of [0, 1, 2]) {
    const got = next(subscriber);
    const properties = five ? { userProperties: { a: "b" }, contentType: "text/plain", responseTopic: "answer" } : undefined;
    await publisher.publishAsync(`q/${qos}`, `qos ${qos}`, { qos, properties });
    const [topic, payload, packet] = await got;
    assert.deepStrictEqual([topic, payload, packet.qos], [`q/${qos}`, `qos ${qos}`, qos]);
    if (five) {
      assert.strictEqual(packet.properties.userProperties.a, "b");
      assert.strictEqual(packet.properties.responseTopic, "answer");
    }
    console.log("qos", qos);
  }
  const gone = next(subscriber);
  publisher.stream.destroy();
  assert.strictEqual((await gone)[1], "gone");
  console.log("will");

  const other = await connect({ clientId: `js-o-${process.pid}` });
  await other.publishAsync("kept", "still", { qos: 1, retain: true });
  const kept = next(subscriber);
  await subscriber.subscribeAsync("kept", { qos: 1 });
  const [, payload, packet] = await kept;
  assert.deepStrictEqual([payload, packet.retain], ["still", true]);
  await other.publishAsync("kept", "", { qos: 1, retain: true });
  console.log("retained");

  const session = {
    clientId: `js-k-${process.pid}`,
    clean: false,
    properties: five ? { sessionExpiryInterval: 60 } : undefined,
  };
  const first = await connect(session);
  await first.subscribeAsync("later", { qos: 2 });
  await first.endAsync();
  await other.publishAsync("later", "while away", { qos: 2 });
  const again = mqtt.connect(url, { ...base, ...session });
  const waiting = next(again);
  const connack = await new Promise((resolve) => again.once("connect", resolve));
  assert.strictEqual(connack.sessionPresent, true);
  assert.strictEqual((await waiting)[1], "while away");
  console.log("session");
  for (const client of [again, other, subscriber]) await client.endAsync();
  console.log("done");
}

setTimeout(() => { console.error("too slow"); process.exit(1); }, 25000).unref();
main().catch((error) => { console.error(error); process.exit(1); });
