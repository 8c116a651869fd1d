// A real browser without a window, and what every page of it must do: load nothing from elsewhere, and make no error.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { executable } from "./executable.mjs";

// From where this is run, since nothing is installed into the sources.
const { chromium } = createRequire(`${process.cwd()}/`)("playwright-core");

/** Milliseconds for what must happen; they only pass by when something is broken. */
export const DEADLINE = 60_000;

/** Where pictures are kept; without it there are none. */
const pictures = process.env.SCREENSHOTS;

// The sandbox needs more rights than containers give, and these pages are ours. The rest keeps it from looking for its maker.
const FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"];

/** Starts the browser, with a profile of its own. */
export const launch = () => chromium.launch({ executablePath: executable(), chromiumSandbox: false, args: FLAGS });

/**
 * Opens a page as somebody who shares nothing with others. `options` are those of the browser's context.
 *
 * `strict` pages make no error at all; others may fail to reach a node that is gone. `init` runs before their own script.
 */
export async function open(browser, url, options = {}) {
  const { strict = true, init, ...context } = options;
  const page = await (await browser.newContext({ viewport: { width: 900, height: 640 }, ...context })).newPage();
  page.setDefaultTimeout(DEADLINE);
  if (init) await page.addInitScript(init);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => {
    const unreachable = /WebSocket connection|ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(message.text());
    if (message.type() === "error" && (strict || !unreachable)) page.faults.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== "data:" && hostname !== "127.0.0.1") page.faults.push(`loads ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

/** Waits until `ask`, a function that runs in the page, gives something true. */
export async function until(page, ask, argument, what) {
  try {
    await page.waitForFunction(ask, argument);
  } catch (error) {
    const shown = await page.locator("body").innerText().catch(() => "(gone)");
    throw new Error(`never so: ${what}\n${shown}`, { cause: error });
  }
}

/** Keeps a picture of a page, light and dark, with the middle of it at `place`. */
export async function picture(page, name, place) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await place?.evaluate((element) => element.scrollIntoView({ block: "center" }));
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) });
  }
}

/** Closes pages that must have made no error. */
export async function close(...pages) {
  for (const page of pages) {
    await page.context().close();
    assert.deepEqual(page.faults, [], "what a page complained of");
  }
}
