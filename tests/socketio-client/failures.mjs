// What clients see of it when a node or the store fails; needs who started the nodes.

import assert from "node:assert/strict";

import { Client, FOR_EVER_MS, room, until } from "./client.mjs";
import { runner } from "./runner.mjs";

/** Its clients reconnect elsewhere, and the others are told at once that it is gone. */
export async function a_node_stops({ a, b }) {
  const garden = room("garden");
  const reconnecting = { reconnection: true, reconnectionDelay: 10 };
  const ada = await Client.join(a, "Ada", garden, reconnecting);
  const tom = await Client.join(a, "Tom", garden, { ...reconnecting, transports: ["polling"] });
  const grace = await Client.join(b, "Grace", garden);
  await ada.say(garden, "one");
  for (const client of [ada, tom, grace]) await client.hears("one");
  for (const client of [ada, tom]) client.socket.io.uri = b;
  await runner.terminate("a");
  for (const client of [ada, tom]) {
    assert.match(await client.expect("(disconnect)"), /^transport (close|error)$/);
    await client.greeted();
    await client.ask("join", garden);
  }
  await grace.say(garden, "two");
  for (const client of [ada, tom, grace]) await client.hears("two");
  assert.deepEqual((await grace.ask("who", garden)).sockets.length, 3);
}

/** For nodes that wait a second for answers: who asks is told that one is missing, and gets all of it later. */
export async function a_node_is_frozen({ a, b }) {
  const garden = room("garden");
  const admin = await Client.connect(a, "admin", { namespace: "/admin", auth: { token: "hunter2" } });
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const grace = await Client.join(b, "Grace", garden);
  await runner.freeze("b");
  const { error } = await ada.emit("who", garden);
  assert.match(error, /did not answer/);
  const { nodes, complete } = await admin.ask("nodes");
  assert.deepEqual([nodes.length, complete], [1, false]);
  const asked = ada.ask("ask", { room: garden, question: "tea?", wait_ms: 500 });
  await bob.answer("question", "yes");
  const { answers, silent } = await asked;
  // On a slow machine, his answer may be late.
  assert.deepEqual([...answers.map(({ id }) => id), ...silent], [bob.id]);
  const texts = Array.from({ length: 20 }, (_, number) => `meanwhile ${number}`);
  for (const text of texts) {
    await ada.say(garden, text);
    for (const client of [ada, bob]) await client.hears(text);
  }

  await runner.thaw("b");
  assert.equal((await grace.expect("question")).question, "tea?");
  for (const text of texts) await grace.hears(text);
  const there = () => ada.emit("who", garden);
  await until(there, ({ sockets }) => sockets?.length === 3, "all are found again");
  await grace.say(garden, "back");
  for (const client of [ada, bob, grace]) await client.hears("back");
}

/** What a process emits that has no sockets reaches those of both nodes. */
export async function an_emitter({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const grace = await Client.join(b, "Grace", garden);
  const tom = await Client.connect(b, "Tom");
  for (const text of ["one", "two"]) {
    await runner.emit(garden, text);
    for (const client of [ada, grace]) {
      assert.deepEqual(await client.expect("message"), { room: garden, user: "emitter", text });
    }
  }
  for (const client of [ada, grace, tom]) await client.hasHeardAll(tom);
}

/** Nobody waits for the dead longer than their lease, whatever deadline was given. */
export async function a_node_is_killed({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const tom = await Client.join(b, "Tom", garden);
  const grace = await Client.join(b, "Grace", garden, { reconnection: true, reconnectionDelay: 10 });

  // Questions are with the clients of both nodes, and one has answered, when it dies.
  const asked = ada.ask("ask", { room: garden, question: "still there?", wait_ms: FOR_EVER_MS });
  await bob.answer("question", "yes");
  await tom.answer("question", "me, too");
  await grace.expect("question");
  await runner.freeze("b");
  // It is a member still, and asked.
  const fetched = ada.ask("who", garden);
  grace.socket.io.uri = a;
  await runner.kill("b");
  assert.equal(await tom.expect("(disconnect)"), "transport close");

  const { answers } = await asked;
  const known = [bob.id, tom.id];
  assert.ok(answers.length > 0 && answers.every(({ id }) => known.includes(id)), JSON.stringify(answers));
  const { sockets } = await fetched;
  assert.deepEqual(sockets.map(({ server }) => server), [ada.server, ada.server]);

  // Her client has gone elsewhere by itself.
  assert.equal(await grace.expect("(disconnect)"), "transport close");
  await grace.greeted();
  assert.equal(grace.server, ada.server);
  await grace.ask("join", garden);
  await grace.say(garden, "here I am");
  for (const client of [ada, bob, grace]) await client.hears("here I am");
  assert.equal((await ada.ask("who", garden)).sockets.length, 3);
}

/** Who is on the same node hears everything at once; the others when the store is back, once and in order. */
export async function the_store_is_away({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const grace = await Client.join(b, "Grace", garden);
  await ada.say(garden, "before");
  for (const client of [ada, bob, grace]) await client.hears("before");

  await runner.stopStore();
  const texts = Array.from({ length: 20 }, (_, number) => `meanwhile ${number}`);
  for (const text of texts) {
    assert.deepEqual(await ada.ask("say", { room: garden, text }), { delivered: "later" });
    for (const client of [ada, bob]) await client.hears(text);
  }
  await runner.startStore();
  for (const text of texts) await grace.hears(text);
  await ada.ask("say", { room: garden, text: "after" });
  for (const client of [ada, bob, grace]) await client.hears("after");
  const back = () => ada.ask("say", { room: room("nobody"), text: "back?" });
  await until(back, ({ delivered }) => delivered === "everywhere", "the store is back");
}

/** For nodes that deliver in the order of the store: nobody hears anything without it, and then all hear the same. */
export async function ordered_without_a_store({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const grace = await Client.join(b, "Grace", garden);
  await runner.stopStore();
  for (const speaker of [ada, grace, ada, grace]) {
    const said = await speaker.ask("say", { room: garden, text: `from ${speaker.user}` });
    assert.deepEqual(said, { delivered: "later" });
    // Had it been heard, that would have come before the answer.
    for (const client of [ada, grace]) assert.equal(client.unread, 0);
  }
  await runner.startStore();
  const heard = [];
  for (let number = 0; number < 4; number += 1) {
    heard.push((await ada.expect("message")).text);
    await grace.hears(heard.at(-1));
  }
  assert.deepEqual(heard.toSorted(), ["from Ada", "from Ada", "from Grace", "from Grace"]);
  for (const speaker of [ada, grace]) for (const client of [ada, grace]) await client.hasHeardAll(speaker);
}
