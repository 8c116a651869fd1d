// The page of the notifications: toasts on whatever page and node somebody is.

import assert from "node:assert/strict";

import { runner } from "../socketio-client/runner.mjs";
import { close, open, picture, until } from "./browser.mjs";

/** Runs in a page: a toast stays until it is taken away, since a slow machine may need longer to see it. */
function keepToasts() {
  const { setTimeout } = window;
  window.setTimeout = (then, ms) => setTimeout(then, ms === 8_000 ? 3_600_000 : ms);
}

/** Somebody on a page. */
class Visitor {
  static async of(browser, node, user, path = "/", options = {}) {
    const visitor = new Visitor();
    visitor.page = await open(browser, `${node}${path}?user=${user}`, { init: keepToasts, ...options });
    visitor.user = user;
    await visitor.isOn(node);
    return visitor;
  }

  async isOn(node) {
    const shown = (host) => {
      const where = document.getElementById("where");
      return where.dataset.state === "up" && where.textContent.includes(host);
    };
    await until(this.page, shown, new URL(node).host, `${this.user} is on ${node}`);
  }

  /** Waits for a toast, and takes it away. */
  async dismisses(text) {
    const toasts = this.page.getByRole("log", { name: "Notifications" });
    await toasts.getByText(text, { exact: true }).waitFor();
    await this.page.getByRole("button", { name: `Dismiss: ${text}` }).click();
    await toasts.getByText(text, { exact: true }).waitFor({ state: "detached" });
  }

  /** Waits for the last of these in the list, newest first; nothing else is there. */
  async wasTold(texts) {
    const first = (text) => document.querySelector("#list li span")?.textContent === text;
    await until(this.page, first, texts.at(-1), `${this.user} was told ${texts.at(-1)}`);
    const listed = await this.page.getByRole("list").locator("li span:first-child").allTextContents();
    assert.deepEqual(listed.reverse(), texts, this.user);
  }

  press(button) {
    return this.page.getByRole("button", { name: button }).click();
  }
}

const [ONE, TWO, THREE, FOUR, FIVE] = [
  "Your export is ready",
  "Invoice 2041 was paid",
  "Your parcel is on its way",
  "The backup of last night is complete",
  "Your report has 12 pages",
];

/** A toast comes up on every page of a user, on both nodes; who was offline, or whose node died, is told what was missed. */
export async function toasts({ browser, a, b }) {
  const home = await Visitor.of(browser, a, "ada", "/", { strict: false });
  const orders = await Visitor.of(browser, b, "ada", "/orders");
  const grace = await Visitor.of(browser, b, "grace");
  await runner.job("ada", ONE);
  for (const visitor of [home, orders]) {
    await visitor.dismisses(ONE);
    await visitor.wasTold([ONE]);
  }

  // Offline for a while, then at the page of another name: the cursor outlives the page.
  await orders.press("Go offline");
  for (const text of [TWO, THREE]) await runner.job("ada", text);
  await home.wasTold([ONE, TWO, THREE]);
  assert.equal(await orders.page.getByText(TWO, { exact: true }).count(), 0);
  await orders.page.getByRole("link", { name: "Home" }).click();
  await orders.isOn(b);
  await orders.wasTold([TWO, THREE]);
  await picture(orders.page, "notify");

  await runner.kill("a");
  for (const text of [FOUR, FIVE]) await runner.job("ada", text);
  await home.isOn(b);
  await home.wasTold([ONE, TWO, THREE, FOUR, FIVE]);
  await runner.job("grace", "hers");
  await grace.wasTold(["hers"]);
  assert.equal(await home.page.getByText("may be missing").count(), 0);
  await close(home.page, orders.page, grace.page);
}
