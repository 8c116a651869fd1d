// Who started the nodes, and can do to them what a client cannot: a line `> command` on the standard output asks for it,
// and a line on the standard input says that it is done.

import { createInterface } from "node:readline";

let answers;

/** Asks for `command`, and answers what the runner says. */
async function call(command) {
  if (process.env.RUNNER === undefined) {
    throw new Error(`"${command}" needs who started the nodes: cargo xtask test -p scaleout-tests`);
  }
  answers ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  process.stdout.write(`> ${command}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error(`the runner is gone, at "${command}"`);
  return value;
}

export const runner = {
  /** Kills the process of a node: it says good-bye to nobody. */
  kill: (node) => call(`kill ${node}`),
  /** Stops the process of a node where it stands. */
  freeze: (node) => call(`freeze ${node}`),
  /** Lets it go on. */
  thaw: (node) => call(`thaw ${node}`),
  /** Asks the process of a node to end, and waits for that. */
  terminate: (node) => call(`terminate ${node}`),
  /** Says something in a room, from a process without sockets. */
  emit: (room, text) => call(`emit ${JSON.stringify({ room, text })}`),
  /** Has a job of a user finished, by a process that only publishes. */
  job: (user, text) => call(`job ${user} ${text}`),
  /** Takes the store away from all nodes. */
  stopStore: () => call("stop-store"),
  /** Gives it back. */
  startStore: () => call("start-store"),
  /** Lets the process end: the standard input would keep it. */
  close: () => process.stdin.destroy(),
};
