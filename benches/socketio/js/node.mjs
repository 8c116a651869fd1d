// A node of a run: `socket.io` with `@socket.io/redis-adapter`.
//
// It takes the same orders and gives the same answers as the nodes in Rust (`src/words.rs`). A line of JSON on its
// standard input is an order, a line of JSON on its standard output an answer. It ends when its input ends.
//
// Its socket is a stand-in in memory: neither HTTP nor a browser takes part. What counts is a packet that the adapter
// wrote to it, encoded for Socket.IO.
import { createInterface } from "node:readline";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const spec = JSON.parse(process.argv[2]);

/** Messages of a run as fast as it goes of which one is stamped, as in Rust. */
const STAMP_EVERY = 64;
/** How long a receiver waits for what is still under way. */
const PATIENCE_MS = 2_000;
/** After everything came: for how long what came twice would be seen. */
const AFTERMATH_MS = 30;
/** How long a question may take. */
const QUESTION_MS = 20_000;

/** Nanoseconds of the clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint());
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1_000;
};

const connect = async () => {
  const client = createClient({ url: spec.url });
  // Without it, a lost connection ends the process.
  client.on("error", () => {});
  await client.connect();
  return client;
};

// The adapter does not look at what becomes of its publishes: one that is under way when the server dies would end the
// process. Who runs socket.io has to do this.
let unhandled = null;
process.on("unhandledRejection", (error) => {
  unhandled ??= `unhandled rejection: ${error.message ?? error}`;
});

/** What a socket heard. */
class Tally {
  constructor(keep) {
    this.seen = new Uint8Array(1 << 20);
    this.received = 0;
    this.duplicates = 0;
    this.reordered = 0;
    this.greatest = -1;
    this.last = 0;
    this.latencies = [];
    this.times = keep ? [] : null;
  }

  message(number, sent) {
    if (this.times) this.times.push({ number, sent, came: now() });
    if (number >= this.seen.length) {
      const more = new Uint8Array(this.seen.length * 2);
      more.set(this.seen);
      this.seen = more;
    }
    if (this.seen[number]) {
      this.duplicates++;
      return;
    }
    this.seen[number] = 1;
    this.received++;
    if (number < this.greatest) this.reordered++;
    else this.greatest = number;
    if (sent) {
      this.last = now();
      this.latencies.push(this.last - sent);
    } else if (this.received % STAMP_EVERY === 0) {
      this.last = now();
    }
  }

  sum(used) {
    const latencies = Float64Array.from(this.latencies).sort();
    const at = (part) => latencies[Math.min(Math.floor(latencies.length * part), latencies.length - 1)] ?? 0;
    const { received, duplicates, reordered, last } = this;
    return { received, duplicates, gaps: 0, reordered, last, cpu: used, p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}

const publisher = await connect();
const subscriber = await connect();
const io = new Server({ adapter: createAdapter(publisher, subscriber, { key: spec.app }) });
const namespace = io.of("/");
const heard = new Set();
let tally = new Tally(false);
let began = 0;
let pace = null;

if (spec.socket) {
  const id = `stand-in-${spec.name}`;
  const socket = {
    id,
    rooms: new Set([id]),
    handshake: {},
    data: {},
    packet: null,
    notifyOutgoingListeners(packet) {
      this.packet = packet;
    },
    client: {
      writeToEngine() {
        const [event, first, second] = socket.packet.data;
        if (event === "bench") tally.message(first, second);
        else heard.add(first);
      },
    },
  };
  namespace.sockets.set(id, socket);
  namespace.adapter.addAll(id, new Set([id]));
}

async function emit({ under_way, size, rate, count, seconds }) {
  const body = "x".repeat(size);
  const limit = count ?? Infinity;
  const before = cpu();
  const first = now();
  const begin = performance.now();
  const elapsed = () => (performance.now() - begin) / 1_000;
  let sent = 0;
  if (rate > 0) {
    const planned = Math.min(limit, Math.floor(rate * seconds));
    while (sent < planned) {
      const due = Math.min(Math.floor(elapsed() * rate), planned);
      while (sent < due) io.emit("bench", sent++, now(), body);
      await sleep(1);
    }
  } else {
    while (sent < limit && (count != null || elapsed() < seconds)) {
      const due = Math.min(sent + under_way, limit);
      for (; sent < due; sent++) io.emit("bench", sent, sent % STAMP_EVERY === 0 ? now() : 0, body);
      await publisher.ping(); // what was emitted before is in the server now
    }
  }
  await publisher.ping();
  return { emitted: sent, errors: 0, first_error: null, first, cpu: cpu() - before };
}

/** Counts until all came that was sent, or nothing comes any more. */
async function end(sent) {
  let [received, quietSince] = [tally.received, performance.now()];
  while (tally.received < sent) {
    await sleep(5);
    if (tally.received !== received) [received, quietSince] = [tally.received, performance.now()];
    else if (performance.now() - quietSince > PATIENCE_MS) break;
  }
  const used = cpu() - began;
  await sleep(AFTERMATH_MS);
  return tally.sum(used);
}

function startPace({ rate, size }) {
  const body = "x".repeat(size);
  const begin = performance.now();
  const emits = [];
  let firstError = null;
  const tick = () => {
    const due = ((performance.now() - begin) / 1_000) * rate;
    while (emits.length < due) {
      const emit = { number: emits.length, sent: now(), outcome: "ok" };
      try {
        io.emit("bench", emit.number, emit.sent, body);
      } catch (error) {
        emit.outcome = "error";
        firstError ??= String(error);
      }
      emits.push(emit);
    }
  };
  const timer = setInterval(tick, 1);
  return () => {
    clearInterval(timer);
    return { emits, first_error: firstError ?? unhandled };
  };
}

async function fetch() {
  const begin = performance.now();
  const ms = () => performance.now() - begin;
  const late = sleep(QUESTION_MS).then(() => {
    throw new Error("no answer");
  });
  late.catch(() => {});
  try {
    const sockets = await Promise.race([io.fetchSockets(), late]);
    return { ms: ms(), sockets: sockets.length, error: null };
  } catch (error) {
    return { ms: ms(), sockets: null, error: error.message };
  }
}

say("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...its } = JSON.parse(line);
  if (order === "probe") {
    io.emit("probe", spec.name);
    say([...heard]);
  } else if (order === "begin") {
    tally = new Tally(its.keep);
    began = cpu();
    say(null);
  } else if (order === "emit") {
    say(await emit(its));
  } else if (order === "end") {
    say(await end(its.sent));
  } else if (order === "pace") {
    pace = startPace(its);
    say(null);
  } else if (order === "stop") {
    say(pace());
  } else if (order === "times") {
    say(tally.times);
  } else if (order === "fetch") {
    say(await fetch());
  }
}
process.exit(0);
