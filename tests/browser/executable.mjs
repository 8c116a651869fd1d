// Which browser: the one that the environment names, or the first one that is on the path.

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Its path; where there is none, the name that it should have. */
export function executable() {
  const named = process.env.SCALEOUT_TEST_CHROMIUM;
  if (named) return named;
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // Not here.
      }
    }
  }
  return NAMES[0];
}
