// Says whether there is a browser, and whether a folder, or else the one this is run in, has what `package.json` pins: exit
// status 0, or 1 and what is missing.

import { execFileSync } from "node:child_process";

import { missing } from "../socketio-client/installed.mjs";
import { executable } from "./executable.mjs";

const wanted = [...missing(new URL("package.json", import.meta.url), process.argv[2])];
const chromium = executable();
try {
  execFileSync(chromium, ["--version"], { stdio: "ignore" });
} catch {
  wanted.push(`Chromium, or Chrome (${chromium} does not run; SCALEOUT_TEST_CHROMIUM may name another)`);
}
console.log(wanted.length === 0 ? "all there" : `needs ${wanted.join(", ")}`);
process.exitCode = wanted.length === 0 ? 0 : 1;
