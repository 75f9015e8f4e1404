/**
 * Tracking sessions for web pages, TVs and apps.
 *
 * Pages keep the session by cookie, devices with `storage` by header. Only `fetch`
 * throws. Others return `null` or `false`, and `onError` gets the reason.
 */

const PATH = "/v1/playouts/tracking/session";
const TRIES = 4;
const PAUSE_MS = 300;
const MAX_WAIT_MS = 30_000;
const TIMEOUT_MS = 10_000;
const VALID_MS = 60_000;
const ID = /^[\da-f-]{36}$/i;
const CREATION = /^([\d-]+) (.*)/s;

/** A storage for devices that keep nothing. */
export function memoryStorage() {
  const kept = new Map();
  return {
    get: (name) => kept.get(name) ?? null,
    set: (name, value) => kept.set(name, value),
    remove: (name) => kept.delete(name),
  };
}

/** A storage in `localStorage`, or in memory where the browser blocks it. */
export function localStorageOrMemory() {
  const memory = memoryStorage();
  const call = (method) => (...values) => {
    try {
      if (!memory.get(values[0])) return globalThis.localStorage[`${method}Item`](...values);
    } catch {} // blocked or full
    return memory[method](...values);
  };
  return { get: call("get"), set: call("set"), remove: call("remove") };
}

export class Tracking {
  #options;
  #notes; // the creation without an answer, the id without cookies
  #noteName;
  #session;
  #from;
  #said = {}; // the last statement, with the user id or ""
  #followed = this.#said; // the statement with an answer
  #createAfter = 0;
  #turn = Promise.resolve();

  constructor(options) {
    this.#options = { name: "jay-tracking", origins: [], ...options };
    this.#notes = options.storage ?? localStorageOrMemory();
    this.#noteName = `${this.#options.name}:key`;
    if (options.consent !== undefined) this.#say(options.consent);
  }

  /** Return the session, or create it. */
  session() {
    return this.#alone(async () => (await this.#find()) ?? this.#create());
  }

  /** Say whether the user is logged in and has agreed. A live session follows. */
  consent(state) {
    this.#say(state);
    return this.#alone(async () => {
      const before = this.#session;
      return (await this.#find()) ?? (before && this.#create());
    });
  }

  /** End the session. Return whether it has ended. */
  async end() {
    return !!(await this.#alone(async () => {
      await this.#settle();
      if (!this.#options.storage || (await this.#id())) await this.#send("DELETE", PATH);
      return !(await this.#forget());
    }));
  }

  /** Fetch, with the session in a header for `origins`. */
  async fetch(input, init) {
    const request = new Request(input, init);
    const session = this.#options.origins.includes(new URL(request.url).origin) && (await this.session());
    if (session) request.headers.set("X-Jay-Tracking", session.session_id);
    return fetch(request);
  }

  /** Note the user id, if the user is logged in and has agreed. */
  #say({ userId, agreed } = {}) {
    const optedOut = this.#options.gpc && globalThis.navigator?.globalPrivacyControl;
    this.#said = { user: agreed && userId && !optedOut ? String(userId) : "" };
  }

  /** Run one operation at a time, with locks in all tabs. */
  #alone(operation) {
    const locks = globalThis.navigator?.locks;
    this.#turn = this.#turn
      .then(() => (locks ? locks.request(this.#options.name, operation) : operation()))
      .catch((error) => void this.#options.onError?.(error))
      .catch(() => {}) // onError has failed
      .then((result) => result ?? null);
    return this.#turn;
  }

  /** Return the live session, or null. It follows the last statement. */
  async #find() {
    await this.#settle();
    const { storage } = this.#options;
    const id = await this.#id();
    if (storage && !id) return this.#forget();
    const said = this.#said;
    // A change without an answer may have been made.
    const change = said !== this.#followed && (said.user ? "PUT" : "DELETE");
    const isOwn = !storage || id === this.#session?.session_id;
    if (!change && isOwn && Math.abs(Date.now() - this.#from) < VALID_MS) return this.#session;
    const answer = await this.#send(change || "GET", PATH + (change ? "/user" : ""), change && said);
    return answer ? this.#take(answer, said) : this.#forget();
  }

  async #create() {
    for (let made = 0; made < 2; made += 1) {
      const creation = `${crypto.getRandomValues(new Uint32Array(4)).join("-")} ${this.#said.user ?? ""}`;
      if (!CREATION.test(await this.#notes.get(this.#noteName))) await this.#notes.set(this.#noteName, creation);
      // Of tabs that start at once, the last one counts.
      if (!globalThis.navigator?.locks) await sleep(50);
      const session = await this.#settle(creation);
      if (session) return session;
    }
    throw failure("session-already-ended", 409);
  }

  /** Repeat a creation without an answer, with its user id. */
  async #settle(creation) {
    const [, key, user] = CREATION.exec(await this.#notes.get(this.#noteName)) ?? CREATION.exec(creation) ?? [];
    if (!key) return null;
    if (Date.now() < this.#createAfter) throw failure("too-many-requests", 429);
    const said = this.#said;
    const answer = await this.#send("POST", PATH, { user }, key);
    if (answer) await this.#take(answer, (said.user ?? user) === user ? said : {});
    await this.#notes.remove(this.#noteName);
    return answer;
  }

  async #take(content, said) {
    // Changed elsewhere.
    if (said.user !== content.user_id) said.user &&= "";
    this.#followed = said;
    this.#from = Date.now();
    this.#session = content;
    await this.#options.storage?.set(`${this.#options.name}:id`, content.session_id);
    return content;
  }

  async #forget() {
    this.#session = this.#from = null;
    await this.#options.storage?.remove(`${this.#options.name}:id`);
    return null;
  }

  async #id() {
    const id = await this.#options.storage?.get(`${this.#options.name}:id`);
    return ID.test(id) ? id : null;
  }

  /** Return the answer, or null without a live session. */
  async #send(method, path, said, creation) {
    const { url, key, storage } = this.#options;
    const user = said?.user;
    const headers = { "X-API-Key": key };
    const id = await this.#id();
    if (creation) headers["Idempotency-Key"] = creation;
    else if (id) headers["X-Jay-Tracking"] = id;
    if (user) headers["Content-Type"] = "application/json";
    const body = user ? JSON.stringify({ user_id: user }) : null;
    const request = { method, headers, body, credentials: storage ? "omit" : "include", redirect: "manual" };
    for (let tried = 1; ; tried += 1) {
      try {
        return await ask(url.replace(/\/+$/, "") + path, request, method === "DELETE" && !said);
      } catch (error) {
        const { kind, status, wait } = error;
        if (kind === "session-not-found" || kind === "session-already-ended") return null;
        if ((status && status !== 429 && status < 500) || tried === TRIES || wait > MAX_WAIT_MS) {
          if (creation && status === 429) this.#createAfter = Date.now() + wait;
          else if (status >= 400 && kind !== "unready" && kind !== "unexpected-answer") {
            if (creation) await this.#notes.remove(this.#noteName);
            else if (said) said.user = ""; // the next call withdraws
          }
          throw error;
        }
        await sleep(wait + Math.random() * PAUSE_MS * 2 ** tried);
      }
    }
  }
}

async function ask(url, request, ends) {
  let response;
  let content;
  try {
    response = await fetch(url, { ...request, signal: AbortSignal.timeout?.(TIMEOUT_MS) });
    content = await response.json();
  } catch (error) {
    // Empty after an end, or foreign.
    if (error.name !== "SyntaxError") throw failure("connection-failed");
  }
  const { ok, status, headers } = response;
  if (ends ? status === 204 : ok && ID.test(content?.session_id)) return content;
  const problem = `${content?.type}`.split("urn:jay:problem:")[1] ?? "unexpected-answer";
  throw failure(status < 500 ? problem : "unready", status, headers.get("Retry-After") * 1000 || 0);
}

function failure(kind, status = 0, wait = 0) {
  return Object.assign(new Error(`tracking: ${kind}`), { kind, status, wait });
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
