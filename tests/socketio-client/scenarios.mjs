// What two nodes do for their clients; `a` and `b` are their URLs.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { Client, FOR_EVER_MS, room, until, within } from "./client.mjs";

const ADMIN = { namespace: "/admin", auth: { token: "hunter2" } };

const byId = (answers) => answers.toSorted((one, other) => (one.id < other.id ? -1 : 1));

export async function in_a_room({ a, b }) {
  const [garden, pond] = [room("garden"), room("pond")];
  const ada = await Client.join(a, "Ada", garden);
  const grace = await Client.join(b, "Grace", garden);
  const tom = await Client.join(b, "Tom", pond);
  assert.deepEqual(await grace.ask("join", pond), { rooms: [garden, pond] });

  await ada.say(garden, "one");
  for (const client of [ada, grace]) await client.hears("one");
  await grace.say(garden, "two");
  for (const client of [ada, grace]) await client.hears("two");
  await ada.say(pond, "three");
  for (const client of [grace, tom]) await client.hears("three");

  assert.deepEqual(await grace.ask("leave", garden), { rooms: [pond] });
  await ada.say(garden, "four");
  await ada.hears("four");
  await grace.say(garden, "five");
  await ada.hears("five");
  for (const client of [ada, grace, tom]) await client.hasHeardAll(ada);
  for (const client of [ada, grace, tom]) await client.hasHeardAll(grace);
}

export async function broadcast({ a, b }) {
  const admin = await Client.connect(a, "admin", ADMIN);
  const users = [await Client.connect(a, "Ada"), await Client.connect(b, "Grace"), await Client.connect(b, "Tom")];
  const texts = ["good", "morning, Zoë 🦀", "x".repeat(4096)];
  assert.deepEqual(await admin.ask("announce", texts), { delivered: "everywhere" });
  for (const user of users) {
    for (const text of texts) assert.equal(await user.expect("announced"), text);
  }
  for (const user of users) await user.hasHeardAll(users[0]);
}

export async function except_a_room({ a, b }) {
  const [garden, asleep] = [room("garden"), room("asleep")];
  const [ada, grace, tom, bob] = [
    await Client.join(a, "Ada", garden),
    await Client.join(b, "Grace", garden),
    await Client.join(b, "Tom", garden),
    await Client.join(a, "Bob", garden),
  ];
  for (const sleeper of [grace, bob]) await sleeper.ask("join", asleep);
  for (const speaker of [ada, tom]) {
    await speaker.say(garden, "softly", asleep);
    for (const client of [ada, tom]) await client.hears("softly");
  }
  for (const speaker of [ada, tom]) {
    for (const client of [ada, grace, tom, bob]) await client.hasHeardAll(speaker);
  }
}

export async function except_the_sender({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const grace = await Client.join(b, "Grace", garden);
  ada.socket.emit("typing", garden);
  for (const other of [bob, grace]) assert.deepEqual(await other.expect("typing"), { room: garden, user: "Ada" });
  for (const client of [ada, bob, grace]) await client.hasHeardAll(ada);
}

export async function one_socket({ a, b }) {
  const ada = await Client.connect(a, "Ada");
  const bob = await Client.connect(a, "Bob");
  const grace = await Client.connect(b, "Grace");
  for (const to of [bob, grace, ada]) {
    assert.deepEqual(await ada.ask("tell", { to: to.id, text: "psst" }), { delivered: "everywhere" });
    assert.deepEqual(await to.expect("told"), { from: ada.id, user: "Ada", text: "psst" });
  }
  // Who is gone gets nothing, and that is no failure.
  grace.close();
  await ada.ask("tell", { to: grace.id, text: "still there?" });
  for (const client of [ada, bob]) await client.hasHeardAll(bob);
}

export async function acks({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const grace = await Client.join(b, "Grace", garden);
  const tom = await Client.join(b, "Tom", garden);
  const asked = (wait_ms) => ada.ask("ask", { room: garden, question: "tea?", wait_ms });

  // Of many, on both nodes.
  let outcome = asked(FOR_EVER_MS);
  await tom.answer("question", { sugar: [1, "Zoë"] });
  await bob.answer("question", "yes");
  assert.deepEqual(await grace.answer("question", null), { user: "Ada", question: "tea?" });
  let { answers, silent } = await outcome;
  const expected = [
    { id: bob.id, answer: "yes" },
    { id: grace.id, answer: null },
    { id: tom.id, answer: { sugar: [1, "Zoë"] } },
  ];
  assert.deepEqual([byId(answers), silent], [byId(expected), []]);

  // Of one that does not answer in time, and of one that leaves instead.
  outcome = asked(1_500);
  await bob.answer("question", "no");
  await tom.answer("question", "no");
  await grace.expect("question");
  ({ answers, silent } = await outcome);
  assert.ok(silent.includes(grace.id), `${silent}`);
  // On a slow machine, the others may be late as well.
  assert.equal(answers.length + silent.length, 3);

  // Of one alone, on the other node; of one on this; of nobody.
  for (const one of [grace, bob]) {
    const alone = room("alone");
    await one.ask("join", alone);
    outcome = ada.ask("ask", { room: alone, question: "you?", wait_ms: FOR_EVER_MS });
    await one.answer("question", "me");
    assert.deepEqual(await outcome, { answers: [{ id: one.id, answer: "me" }], silent: [] });
  }
  const nobody = { room: room("nobody"), question: "?", wait_ms: FOR_EVER_MS };
  assert.deepEqual(await ada.ask("ask", nobody), { answers: [], silent: [] });
}

export async function binary({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const grace = await Client.join(b, "Grace", garden);
  const tom = await Client.join(b, "Tom", garden, { transports: ["polling"] });
  const files = [randomBytes(64 << 10), Buffer.alloc(0), Buffer.from("Zoë 🦀\0\xff", "latin1"), randomBytes(1)];
  for (const sender of [ada, grace, tom]) {
    for (const data of files) {
      const sent = await sender.ask("file", { room: garden, name: "a file", data });
      assert.deepEqual(sent, { delivered: "everywhere" });
      for (const client of [ada, grace, tom]) {
        const file = await client.expect("file");
        assert.deepEqual(file, { room: garden, user: sender.user, name: "a file", data });
        assert.ok(Buffer.isBuffer(file.data));
      }
    }
  }

  const outcome = ada.ask("show", { room: garden, wait_ms: FOR_EVER_MS });
  await tom.answer("show", files[2]);
  await grace.answer("show", files[0]);
  const { answers, silent } = await outcome;
  const expected = [
    { id: grace.id, answer: files[0] },
    { id: tom.id, answer: files[2] },
  ];
  assert.deepEqual([byId(answers), silent], [byId(expected), []]);
}

export async function namespaces({ a, b }) {
  // Both by one connection.
  const ada = await Client.connect(a, "Ada");
  const admin = await Client.connect(a, "admin", { ...ADMIN, forceNew: false, multiplex: true });
  const guard = await Client.connect(b, "guard", ADMIN);
  const grace = await Client.connect(b, "Grace");
  await guard.ask("announce", ["hear, hear"]);
  for (const user of [ada, grace]) assert.equal(await user.expect("announced"), "hear, hear");
  for (const user of [ada, grace]) await user.hasHeardAll(ada);
  // Those of the other namespace have heard nothing of it: what they hear next is their end.
  for (const client of [admin, guard]) {
    client.close();
    assert.equal(await client.expect("(disconnect)"), "io client disconnect");
  }

  for (const [options, why] of [
    [{ namespace: "/nowhere" }, "Invalid namespace"],
    [{ ...ADMIN, auth: { token: "hunter3" } }, "wrong token"],
    [{ ...ADMIN, auth: {} }, "wrong token"],
  ]) {
    assert.equal(await new Client(a, "Tom", options).expect("(connect_error)"), why);
  }
}

export async function transports({ a, b }) {
  const garden = room("garden");
  const polling = await Client.join(a, "polling", garden, { transports: ["polling"] });
  const upgraded = new Client(b, "upgraded", { transports: ["polling", "websocket"] });
  const upgrade = new Promise((resolve) => upgraded.socket.io.engine.once("upgrade", resolve));
  await upgraded.greeted();
  await within(upgrade, "the upgrade to WebSocket");
  await upgraded.ask("join", garden);
  const websocket = await Client.join(a, "websocket", garden);
  const clients = [polling, upgraded, websocket];
  const names = clients.map(({ socket }) => socket.io.engine.transport.name);
  assert.deepEqual(names, ["polling", "websocket", "websocket"]);
  for (const client of clients) {
    for (const text of [`from ${client.user}`, "x".repeat(4096)]) {
      await client.say(garden, text);
      for (const other of clients) await other.hears(text);
    }
  }
}

export async function who_is_there({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden);
  const bob = await Client.join(a, "Bob", garden);
  const grace = await Client.join(b, "Grace", garden);
  const tom = await Client.connect(b, "Tom");
  const places = (clients) => byId(clients.map(({ id, server }) => ({ id, server })));
  assert.deepEqual((await ada.ask("who", garden)).sockets, places([ada, bob, grace]));
  assert.deepEqual((await tom.ask("who", garden)).sockets, places([ada, bob, grace]));
  const everybody = (await grace.ask("who", null)).sockets;
  assert.deepEqual(byId(everybody), places([ada, bob, grace, tom]));
  assert.deepEqual((await ada.ask("who", room("empty"))).sockets, []);

  const admin = await Client.connect(a, "admin", ADMIN);
  const pond = room("pond");
  await tom.ask("join", pond);
  const all = (await admin.ask("rooms")).rooms;
  assert.ok(all.includes(garden) && all.includes(pond), `${all}`);

  const { nodes, complete } = await admin.ask("nodes");
  const counts = nodes.map(({ sockets }) => sockets);
  assert.ok(complete && counts.length === 2 && Math.min(...counts) >= 2, `${counts}`);

  await bob.ask("leave", garden);
  grace.close();
  const left = await until(() => ada.ask("who", garden), ({ sockets }) => sockets.length === 1, "Grace is gone");
  assert.deepEqual(left.sockets, places([ada]));
}

export async function sockets_of_another_node({ a, b }) {
  const [garden, pond] = [room("garden"), room("pond")];
  const admin = await Client.connect(a, "admin", ADMIN);
  const ada = await Client.join(a, "Ada", garden);
  const grace = await Client.join(b, "Grace", garden);
  // The room is told only when she is in it.
  await admin.ask("move", { id: grace.id, from: garden, to: pond });
  assert.deepEqual(await grace.expect("moved"), { room: pond, id: grace.id });
  assert.deepEqual((await ada.ask("who", pond)).sockets, [{ id: grace.id, server: grace.server }]);
  await ada.say(pond, "in the pond");
  await grace.hears("in the pond");
  await ada.say(garden, "in the garden");
  await ada.hears("in the garden");
  await grace.hasHeardAll(ada);
  for (let times = 0; times < 20; times += 1) {
    const next = room("next");
    await admin.ask("move", { id: grace.id, to: next });
    assert.equal((await grace.expect("moved")).room, next);
  }

  // What is sent before the end comes before the end.
  await admin.ask("kick", { id: grace.id, why: "it is late" });
  assert.equal(await grace.expect("kicked"), "it is late");
  assert.equal(await grace.expect("(disconnect)"), "io server disconnect");
  await admin.ask("kick", { id: ada.id, why: "you, too" });
  assert.equal(await ada.expect("kicked"), "you, too");
  assert.equal(await ada.expect("(disconnect)"), "io server disconnect");
}

export async function in_order({ a, b }) {
  const [first, second] = [await Client.connect(a, "first", ADMIN), await Client.connect(b, "second", ADMIN)];
  const users = [await Client.connect(a, "Ada"), await Client.connect(b, "Grace")];
  const texts = (who) => Array.from({ length: 250 }, (_, number) => `${who} ${number}`);
  await Promise.all([first.ask("announce", texts("first")), second.ask("announce", texts("second"))]);
  for (const user of users) {
    const heard = [];
    while (heard.length < 500) heard.push(await user.expect("announced"));
    for (const who of ["first", "second"]) {
      assert.deepEqual(heard.filter((text) => text.startsWith(who)), texts(who), user.user);
    }
    user.heard = heard;
  }
  for (const user of users) await user.hasHeardAll(users[0]);
  return users.map(({ heard }) => heard);
}

/** For nodes that deliver in the order of the store. */
export async function in_one_order(nodes) {
  const [one, other] = await in_order(nodes);
  assert.deepEqual(one, other);
}

export async function a_client_changes_nodes({ a, b }) {
  const garden = room("garden");
  const ada = await Client.join(a, "Ada", garden, { reconnection: true, reconnectionDelay: 10 });
  const grace = await Client.join(b, "Grace", garden);
  await grace.say(garden, "one");
  for (const client of [ada, grace]) await client.hears("one");

  // Her connection breaks, and the client reconnects by itself, as a balancer wills: elsewhere.
  const [id, server] = [ada.id, ada.server];
  ada.socket.io.uri = b;
  ada.socket.io.engine.close();
  assert.equal(await ada.expect("(disconnect)"), "forced close");
  await ada.greeted();
  assert.notEqual(ada.id, id);
  assert.deepEqual([ada.server === server, ada.server], [false, grace.server]);
  // A new socket is in no room.
  await grace.say(garden, "two");
  await grace.hears("two");
  await ada.ask("join", garden);
  await grace.say(garden, "three");
  for (const client of [ada, grace]) await client.hears("three");
  const tom = await Client.join(a, "Tom", garden);
  await tom.say(garden, "four");
  for (const client of [ada, grace, tom]) await client.hears("four");
  const sockets = await until(() => tom.ask("who", garden), ({ sockets }) => sockets.length === 3, "the old one is gone");
  assert.ok(!sockets.sockets.some((socket) => socket.id === id));
}
