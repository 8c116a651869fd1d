// Says whether a folder, or else the one this is run in, has what `package.json` pins: exit status 0, or 1 and what is
// missing.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const read = (path) => JSON.parse(readFileSync(path, "utf8"));

/** What `manifest` pins, and `folder` has not. */
export function* missing(manifest, folder = ".") {
  const { dependencies } = read(manifest);
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

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const wanted = [...missing(new URL("package.json", import.meta.url), process.argv[2])].join(", ");
  console.log(wanted === "" ? "all there" : `needs ${wanted}`);
  process.exitCode = wanted === "" ? 0 : 1;
}
