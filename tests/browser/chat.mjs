// The page of the chat, used by the names of its fields and buttons, as those do who cannot see it.

import assert from "node:assert/strict";

import { runner } from "../socketio-client/runner.mjs";
import { close, open, picture, until } from "./browser.mjs";

/** Somebody in a room, on a page of its own. */
class Guest {
  static async join(browser, node, name, options) {
    const guest = new Guest();
    guest.page = await open(browser, `${node}/#lobby`, options);
    guest.name = name;
    await guest.page.getByLabel("Your name").fill(name);
    assert.equal(await guest.page.getByLabel("Room").inputValue(), "lobby");
    await guest.page.keyboard.press("Enter");
    await guest.isOn(node);
    return guest;
  }

  /** Waits until the page says that it is connected to a node. */
  async isOn(node) {
    await this.status(new URL(node).host, "up");
  }

  async status(text, state) {
    const shown = (wanted) => {
      const where = document.getElementById("where");
      return where.textContent.includes(wanted.text) && where.dataset.state === wanted.state;
    };
    await until(this.page, shown, { text, state }, `${this.name} is ${state} on ${text}`);
  }

  async say(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  log() {
    return this.page.getByRole("log", { name: "Messages" });
  }

  /** Waits for the last of these texts; all of them must be there then, each once, and nothing else. */
  async sees(texts) {
    const last = (text) => [...document.querySelectorAll("#lines .text")].at(-1)?.textContent === text;
    await until(this.page, last, texts.at(-1), `${this.name} sees ${texts.at(-1)}`);
    assert.deepEqual(await this.texts(), texts, this.name);
  }

  texts() {
    return this.log().locator(".text").allTextContents();
  }

  notes() {
    return this.log().locator(".note").allTextContents();
  }

  gaps() {
    return this.log().getByText("Messages may be missing here").count();
  }
}

const numbered = (who, from, to) => Array.from({ length: to - from }, (_, index) => `${who} ${from + index}`);

/** What is written on one page is on the page of the other node, in the same order, and is text whatever it looks like. */
export async function messages_cross({ browser, a, b }) {
  const ada = await Guest.join(browser, a, "Ada");
  const grace = await Guest.join(browser, b, "Grace");
  const texts = ["hello", "<b>&amp;", "\u{1f980}", "x".repeat(4000)];
  for (const [index, text] of texts.entries()) {
    await [ada, grace][index % 2].say(text);
    for (const guest of [ada, grace]) await guest.sees(texts.slice(0, index + 1));
  }
  // By the keyboard alone: another room, where nothing of this one is heard.
  await ada.page.getByRole("button", { name: "Leave" }).press("Enter");
  await ada.page.getByLabel("Room").fill("attic");
  await ada.page.keyboard.press("Enter");
  await ada.isOn(a);
  await ada.say("alone");
  await ada.sees(["alone"]);
  await grace.say("still here");
  await grace.sees([...texts, "still here"]);
  await close(ada.page, grace.page);
}

/** The node of a page is killed while others write: it goes on at the other, and nothing is missing, nothing twice. */
export async function a_node_is_killed({ browser, a, b }) {
  const ada = await Guest.join(browser, a, "Ada", { strict: false });
  const grace = await Guest.join(browser, b, "Grace");
  const texts = numbered("grace", 0, 30);
  for (const text of texts.slice(0, 10)) await grace.say(text);
  await ada.sees(texts.slice(0, 10));
  // She writes on while it dies.
  const writing = (async () => {
    for (const text of texts.slice(10)) await grace.say(text);
  })();
  await runner.kill("a");
  await writing;
  await ada.isOn(b);
  await ada.sees(texts);
  await ada.say("over");
  for (const guest of [ada, grace]) await guest.sees([...texts, "over"]);
  assert.equal(await ada.gaps(), 0);
  const host = (node) => new URL(node).host;
  // On a busy machine even Redis may be late for a moment, which is told as well.
  assert.deepEqual((await ada.notes()).filter((note) => note !== "The store is back"), [
    `Connected to ${host(a)}`,
    `${host(a)} is gone`,
    `Continued on ${host(b)}`,
  ]);
  await picture(ada.page, "chat-continued", ada.log().getByText("Continued on"));
  await close(ada.page, grace.page);
}

/** The store goes, and both pages say so; what is written meanwhile comes when it is back, once, in one order. */
export async function the_store_restarts({ browser, a, b }) {
  const ada = await Guest.join(browser, a, "Ada");
  const grace = await Guest.join(browser, b, "Grace");
  await ada.say("before");
  for (const guest of [ada, grace]) await guest.sees(["before"]);
  await runner.stopStore();
  for (const guest of [ada, grace]) {
    await guest.status("no store", "degraded");
    await guest.page.getByText("This node cannot reach its store").waitFor();
  }
  const written = { ada: numbered("ada", 0, 8), grace: numbered("grace", 0, 8) };
  for (let index = 0; index < 8; index++) {
    await ada.say(written.ada[index]);
    await grace.say(written.grace[index]);
  }
  const waiting = ada.page.getByRole("group", { name: "Sent, and not yet stored" });
  assert.deepEqual(await waiting.locator(".text").allTextContents(), written.ada);
  assert.deepEqual(await ada.texts(), ["before"]);
  await picture(ada.page, "chat-degraded");
  await runner.startStore();
  for (const guest of [ada, grace]) {
    await guest.status("node", "up");
    await guest.log().getByText("The store is back").first().waitFor();
    await until(guest.page, () => document.querySelectorAll("#lines .text").length >= 17, null, "all has come");
  }
  await grace.say("over");
  const seen = [];
  for (const guest of [ada, grace]) {
    await until(
      guest.page,
      () => [...document.querySelectorAll("#lines .text")].at(-1)?.textContent === "over",
      null,
      `${guest.name} sees the end`,
    );
    const texts = await guest.texts();
    for (const [who, theirs] of Object.entries(written)) {
      assert.deepEqual(texts.filter((text) => text.startsWith(who)), theirs, `${who}, as ${guest.name} sees it`);
    }
    assert.equal(texts.length, 18);
    assert.equal(await guest.gaps(), 0);
    assert.equal(await guest.page.getByText("This node cannot reach its store").isVisible(), false);
    seen.push(texts);
  }
  assert.deepEqual(seen[0], seen[1], "one order on both pages");
  assert.equal(await waiting.locator(".text").count(), 0);
  await close(ada.page, grace.page);
}

/**
 * For nodes with rings of 64 KiB: who was away for longer than that is told so, in a line; and whose text went down with a
 * node, that it may not have been sent.
 */
export async function what_is_missing_is_told({ browser, a, b }) {
  const ada = await Guest.join(browser, a, "Ada", { strict: false });
  const grace = await Guest.join(browser, b, "Grace");
  await grace.say("before");
  await ada.sees(["before"]);
  // Her node stands still, and hears nothing of what fills the ring of the other one twice.
  await runner.freeze("a");
  const texts = Array.from({ length: 40 }, (_, number) => `${number} ${"x".repeat(3900)}`);
  for (const text of texts) await grace.say(text);
  await grace.sees(["before", ...texts]);
  // What she sends there, nobody gets.
  await ada.say("into the void");
  await runner.kill("a");
  await ada.isOn(b);
  await grace.say("after");
  const last = () => [...document.querySelectorAll("#lines .text")].at(-1)?.textContent === "after";
  await until(ada.page, last, null, "Ada sees what comes now");
  assert.equal(await ada.gaps(), 1);
  const seen = await ada.texts();
  assert.deepEqual(seen, ["before", ...texts.slice(texts.length + 2 - seen.length), "after"], "all behind the gap");
  await picture(ada.page, "chat-gap", ada.log().getByText("Messages may be missing here"));
  await ada.page.getByText("This may not have been sent").waitFor();
  await picture(ada.page, "chat-unsent", ada.page.getByText("This may not have been sent"));
  await ada.page.getByRole("button", { name: "Send again" }).click();
  await grace.sees(["before", ...texts, "after", "into the void"]);
  await ada.sees([...seen, "into the void"]);
  assert.equal(await ada.page.getByText("This may not have been sent").count(), 0);
  await close(ada.page, grace.page);
}

/** Pictures of a conversation; of the form, and of a small screen. */
export async function portraits({ browser, a, b }) {
  const ada = await Guest.join(browser, b, "Ada");
  const grace = await Guest.join(browser, a, "Grace");
  const linus = await Guest.join(browser, b, "Linus", { viewport: { width: 390, height: 700 } });
  const lines = [
    [ada, "Is the new release out?"],
    [grace, "Since this morning. I am on the other node, by the way."],
    [ada, "Then it works: I see you at once, and in the same order as everybody."],
    [linus, "And on a phone."],
    [grace, "What if my node dies now?"],
    [ada, "Your page goes on at mine, with its cursor. Try it: Switch node does the same."],
  ];
  const texts = [];
  for (const [guest, text] of lines) {
    await guest.say(text);
    texts.push(text);
    for (const other of [ada, grace, linus]) await other.sees(texts);
  }
  await grace.page.getByRole("button", { name: "Switch node" }).click();
  await grace.isOn(b);
  await grace.say("Back again, and nothing is missing.");
  texts.push("Back again, and nothing is missing.");
  for (const other of [ada, grace, linus]) await other.sees(texts);
  await picture(grace.page, "chat");
  await picture(linus.page, "chat-phone");
  const form = await open(browser, `${a}/#lobby`);
  await picture(form, "chat-join");
  await close(ada.page, grace.page, linus.page, form);
}
