// The official client of Socket.IO against two nodes of the example `socketio_chat`.
//
//     node e2e.mjs URL URL [SCENARIO…]
//
// from a folder that has the client installed; the nodes were started with `--admin-token hunter2`. Without a scenario: all
// that need neither nodes of a certain kind nor somebody who stops them.

import { closeAll, story, until } from "./client.mjs";
import * as failures from "./failures.mjs";
import { runner } from "./runner.mjs";
import * as scenarios from "./scenarios.mjs";

const { in_one_order, ...ordinary } = scenarios;
const all = { ...scenarios, ...failures };

const [a, b, ...names] = process.argv.slice(2);
const unknown = names.filter((name) => !(name in all));
if (b === undefined || unknown.length > 0) {
  console.error(`usage: node e2e.mjs URL URL [SCENARIO…]; the scenarios are ${Object.keys(all).join(", ")}`);
  process.exit(2);
}

/** Waits until a node is ready, and knows of the other. */
async function ready(url) {
  const health = async () => (await fetch(`${url}/health`)).json();
  await until(health, ({ ready, members }) => ready && members === 2, `${url} is ready`);
}

let failed = false;
try {
  for (const url of [a, b]) await ready(url);
  for (const name of names.length > 0 ? names : Object.keys(ordinary)) {
    const began = performance.now();
    await all[name]({ a, b });
    closeAll();
    console.log(`ok ${name}, ${(performance.now() - began).toFixed(0)} ms`);
  }
} catch (error) {
  failed = true;
  console.log(`${story()}\n\nFAILED: ${error.stack}`);
}
closeAll();
runner.close();
process.exitCode = failed ? 1 : 0;
