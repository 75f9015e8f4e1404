// Makes the calls of a case with the JavaScript client. Each line of the standard input
// is a command in JSON, and each line of the standard output is its reply.
// `tests/clients/visit_programs.py` describes both.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import { memoryStorage, Tracking } from "../../../clients/js/jay-tracking.js";

let now = 0;
let pauses = [];
let reports = [];
let storage;
let options;
let tabs;
let tab;

Date.now = () => now;
globalThis.crypto ??= webcrypto; // Node.js 18 has no global one.

// The client waits for a promise, whose function is native. Other timers are those of Node.
const wait = globalThis.setTimeout;
globalThis.setTimeout = (callback, milliseconds, ...rest) => {
  if (!Function.prototype.toString.call(callback).includes("[native code]")) {
    return wait(callback, milliseconds, ...rest);
  }
  pauses.push(milliseconds / 1000);
  queueMicrotask(callback);
};

function fail() {
  throw new Error("a failure of the app");
}

const commands = {
  start({ url, key, own_origin, stored_id, time_seconds, global_privacy_control, fails }) {
    // With Web Locks, the client does not wait for other tabs.
    const locks = { request: (_, operation) => operation() };
    const navigator = { globalPrivacyControl: global_privacy_control, locks };
    Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
    now = time_seconds * 1000;
    storage = memoryStorage();
    if (stored_id !== null) storage.set("jay-tracking:id", stored_id);
    const onError = (error) => {
      reports.push({ kind: error.kind ?? String(error), message: String(error) });
      if (fails === "on_error") fail();
    };
    const failing = { get: fail, set: fail, remove: fail };
    const used = fails === "storage" ? failing : storage;
    options = { url, key, origins: [own_origin], storage: used, gpc: true, onError };
    tabs = {};
    commands.tab({ number: 1 });
  },
  restart() {
    tabs[tab] = new Tracking(options);
  },
  tab({ number }) {
    tab = number;
    tabs[tab] ??= new Tracking(options);
  },
  advance({ seconds }) {
    now += seconds * 1000;
  },
  session: () => tabs[tab].session(),
  consent: ({ user_id, agreed }) => tabs[tab].consent({ userId: user_id, agreed }),
  end: () => tabs[tab].end(),
  async fetch({ url }) {
    await (await tabs[tab].fetch(url)).text();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, times = 1, ...values } = JSON.parse(line);
  pauses = [];
  reports = [];
  const calls = Array.from({ length: times }, () => commands[command](values));
  const results = (await Promise.all(calls)).map((result) => result ?? null);
  const stored_id = storage.get("jay-tracking:id");
  process.stdout.write(`${JSON.stringify({ results, reports, pauses, stored_id })}\n`);
}
