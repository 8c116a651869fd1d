// Says whether a folder, or else the one this is run in, has what `package.json` pins: exit status 0, or 1 and what is
// missing.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const [folder = "."] = process.argv.slice(2);

const read = (path) => JSON.parse(readFileSync(path, "utf8"));

function* missing() {
  const { dependencies } = read(new URL("package.json", import.meta.url));
  for (const [name, wanted] of Object.entries(dependencies)) {
    let there = "none";
    try {
      there = read(join(folder, "node_modules", name, "package.json")).version;
    } catch {
      // Not installed.
    }
    if (there !== wanted) yield `${name} ${wanted} (there is ${there})`;
  }
}

const wanted = [...missing()].join(", ");
console.log(wanted === "" ? "all there" : `needs ${wanted}`);
process.exitCode = wanted === "" ? 0 : 1;
