// A browser against two nodes of an example.
//
//     node e2e.mjs URL URL SCENARIO…
//
// from a folder that has playwright-core installed. `SCREENSHOTS` names a folder for pictures. Scenarios that need nodes of a
// certain kind, or somebody who stops them, say so; `portraits` needs neither.

import { runner } from "../socketio-client/runner.mjs";
import { launch } from "./browser.mjs";
import * as chat from "./chat.mjs";
import * as notify from "./notify.mjs";

const all = { ...chat, ...notify };

const [a, b, ...names] = process.argv.slice(2);
const unknown = names.filter((name) => !(name in all));
if (names.length === 0 || unknown.length > 0) {
  console.error(`usage: node e2e.mjs URL URL SCENARIO…; the scenarios are ${Object.keys(all).join(", ")}`);
  process.exit(2);
}

let failed = false;
const browser = await launch();
try {
  for (const name of names) {
    const began = performance.now();
    await all[name]({ browser, a, b });
    console.log(`ok ${name}, ${(performance.now() - began).toFixed(0)} ms`);
  }
} catch (error) {
  failed = true;
  console.log(`FAILED: ${error.stack}`);
}
await browser.close();
runner.close();
process.exitCode = failed ? 1 : 0;
