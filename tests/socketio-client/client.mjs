// The official client, with a memory: what it hears is looked at in order, and nothing is passed over.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";

// From where this is run, since nothing is installed into the sources.
const { io } = createRequire(`${process.cwd()}/`)("socket.io-client");

/** Milliseconds for what must happen; they only pass by when something is broken. */
export const DEADLINE = 60_000;

/** Milliseconds, longer than any scenario lasts: what ends a wait of a node is never this. */
export const FOR_EVER_MS = 3_600_000;

const began = performance.now();
const traced = [];
const clients = new Set();

function trace(who, what, value) {
  const shown = JSON.stringify(value, (_, part) => (part?.type === "Buffer" ? `${part.data.length} bytes` : part));
  traced.push(`${(performance.now() - began).toFixed(0).padStart(6)} ms  ${who} ${what} ${shown?.slice(0, 300) ?? ""}`);
}

/** What all clients have sent and heard. */
export const story = () => traced.join("\n");

/** Closes the clients of a scenario. */
export function closeAll() {
  for (const client of clients) client.close();
  clients.clear();
}

/** What `promise` gives, in time. */
export async function within(promise, what, deadline = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadline} ms: ${what}`)), deadline);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again until `accepted`: nothing tells a client of this. */
export async function until(ask, accepted, what) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const answer = await ask();
    if (accepted(answer)) return answer;
    if (Date.now() > end) throw new Error(`never so: ${what}; last ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A room of its own. */
export const room = (what) => `${what} ${randomBytes(6).toString("hex")}`;

export class Client {
  #heard = [];
  #listener;

  /**
   * Begins to connect a user with a node. `options` are those of the official client, and `namespace`.
   */
  constructor(url, user, { namespace = "/", ...options } = {}) {
    this.user = user;
    this.socket = io(url + namespace, {
      auth: { user },
      forceNew: true,
      reconnection: false,
      transports: ["websocket"],
      ...options,
    });
    this.socket.onAny((event, ...args) => this.#hear(event, args));
    this.socket.on("connect", () => this.#hear("(connect)", [this.socket.id]));
    this.socket.on("connect_error", (error) => this.#hear("(connect_error)", [error.message]));
    this.socket.on("disconnect", (reason) => this.#hear("(disconnect)", [reason]));
    clients.add(this);
  }

  /** Connects, and waits for the node's greeting. */
  static async connect(url, user, options) {
    const client = new Client(url, user, options);
    await client.greeted();
    return client;
  }

  /** Connects, and enters a room. */
  static async join(url, user, room, options) {
    const client = await Client.connect(url, user, options);
    await client.ask("join", room);
    return client;
  }

  /** Waits until it is connected, and for the node's greeting. */
  async greeted() {
    await this.expect("(connect)");
    const { id, server } = await this.expect("welcome");
    assert.equal(id, this.socket.id);
    Object.assign(this, { id, server });
  }

  #hear(event, args) {
    trace(this.user, "<", [event, ...args]);
    this.#heard.push({ event, args });
    this.#listener?.();
  }

  /** How many events it has heard that were not looked at. */
  get unread() {
    return this.#heard.length;
  }

  /** What comes next. */
  async next(wanted = "anything") {
    if (this.#heard.length === 0) {
      const heard = new Promise((resolve) => (this.#listener = resolve));
      await within(heard, `${this.user} hears ${wanted}`);
      this.#listener = undefined;
    }
    return this.#heard.shift();
  }

  /** The first argument of the next event, which must be `event`; with an answer called for, also how to give it. */
  async expect(event) {
    const heard = await this.next(event);
    assert.equal(heard.event, event, `${this.user} hears ${JSON.stringify(heard)}`);
    return heard.args[0];
  }

  /** Waits for an event that asks, and gives `answer`. */
  async answer(event, answer) {
    const { event: heard, args } = await this.next(event);
    assert.equal(heard, event, `${this.user} hears ${heard}`);
    args.at(-1)(answer);
    return args[0];
  }

  /** Emits an event, and answers its acknowledgement as it is. */
  async emit(event, ...args) {
    trace(this.user, ">", [event, ...args]);
    const answer = await this.socket.timeout(DEADLINE).emitWithAck(event, ...args);
    trace(this.user, "=", [event, answer]);
    return answer;
  }

  /** Emits an event that is not refused. */
  async ask(event, ...args) {
    const answer = await this.emit(event, ...args);
    assert.equal(answer.error, undefined, `${this.user}: ${event}`);
    return answer;
  }

  /** Says something in a room, that is stored for all nodes. */
  async say(room, text, except) {
    assert.deepEqual(await this.ask("say", { room, text, except }), { delivered: "everywhere" });
  }

  /** Expects a message. */
  async hears(text) {
    assert.equal((await this.expect("message")).text, text, this.user);
  }

  /**
   * Shows that it has heard nothing more of what went by the node of `sender`: what that tells it now, is what comes next.
   * Other nodes may be ahead or behind: a node's own clients hear it before the store does.
   */
  async hasHeardAll(sender) {
    const text = `marker ${Math.random()}`;
    await sender.ask("tell", { to: this.id, text });
    assert.equal((await this.expect("told")).text, text, this.user);
  }

  close() {
    this.socket.disconnect();
  }
}
