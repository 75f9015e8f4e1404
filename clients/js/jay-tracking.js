/**
 * Tracking sessions for web pages, TVs and apps.
 *
 * A page keeps its session by cookie, and a device with `storage` by header. No method
 * throws: a failure is `null` or `false`, and `onError` gets the reason.
 */

const PATH = "/v1/playouts/tracking/session";
const TRIES = 4;
const PAUSE_MS = 300;
const MAX_WAIT_MS = 30_000;
const TIMEOUT_MS = 10_000;
const VALID_MS = 60_000;
const ID = /^[\da-f-]{36}$/i;

/** A storage for devices that keep nothing. */
export function memoryStorage() {
  const kept = new Map();
  return {
    get: (name) => kept.get(name) ?? null,
    set: (name, value) => void kept.set(name, value),
    remove: (name) => void kept.delete(name),
  };
}

/** A storage in `localStorage`, or in memory where the browser blocks it. */
export function localStorageOrMemory() {
  const memory = memoryStorage();
  const call = (own, other) => (...values) => {
    try {
      return globalThis.localStorage[own](...values);
    } catch {
      return memory[other](...values);
    }
  };
  return { get: call("getItem", "get"), set: call("setItem", "set"), remove: call("removeItem", "remove") };
}

export class Tracking {
  #options;
  #notes; // the key of a creation in progress, and the id without cookies
  #session = null;
  #from;
  #rest;
  #asked; // the user id that the service got. It may have dropped it.
  #createAfter = 0;
  #user; // undefined: nobody has said anything about consent
  #turn = Promise.resolve();

  constructor(options) {
    this.#options = { name: "jay-tracking", origins: [], ...options };
    this.#notes = options.storage ?? localStorageOrMemory();
    if (options.consent !== undefined) this.#user = this.#userOf(options.consent);
  }

  /** Return the session of this visit. Create one if there is none. */
  session() {
    return this.#alone(() => this.#current());
  }

  /** Say whether the user is logged in and has agreed. A live session follows. */
  consent(state) {
    this.#user = this.#userOf(state);
    return this.#alone(async () => (await this.#find()) && this.#current());
  }

  /** End the session. Return whether it has ended. */
  async end() {
    const ended = this.#alone(async () => {
      if (!this.#options.storage || (await this.#id())) await this.#send("DELETE", PATH);
      await this.#notes.remove(`${this.#options.name}:key`);
      await this.#forget();
      return true;
    });
    return (await ended) ?? false;
  }

  /** Fetch, with the session in a header for the origins in `origins`. */
  async fetch(input, init) {
    const request = new Request(input, init);
    const session = this.#options.origins.includes(new URL(request.url).origin) && (await this.session());
    if (session) request.headers.set("X-Jay-Tracking", session.session_id);
    return fetch(request);
  }

  /** The consent table: a user id only for a user who is logged in and has agreed. */
  #userOf({ userId, agreed } = {}) {
    const optedOut = this.#options.gpc && globalThis.navigator?.globalPrivacyControl;
    return agreed && userId && !optedOut ? String(userId) : null;
  }

  /** Run one operation at a time, in all tabs where the browser has Web Locks. */
  #alone(operation) {
    const locks = globalThis.navigator?.locks;
    this.#turn = this.#turn
      .then(() => (locks ? locks.request(this.#options.name, operation) : operation()))
      .catch((error) => void this.#options.onError?.(error))
      .catch(() => {}) // onError has failed
      .then((result) => result ?? null);
    return this.#turn;
  }

  async #current() {
    const session = await this.#find();
    const isOther = session && this.#user !== undefined && this.#user !== this.#asked;
    return (isOther ? await this.#changeUser() : session) ?? this.#create();
  }

  /** Return the live session, or null without one. */
  async #find() {
    const age = Date.now() - this.#from;
    if (this.#session && age >= 0 && age < this.#rest) return this.#session;
    if (this.#options.storage && !(await this.#id())) return this.#forget();
    const answer = await this.#send("GET", PATH);
    return answer ? this.#take(answer, answer.content.user_id ?? null) : this.#forget();
  }

  async #create() {
    if (Date.now() < this.#createAfter) throw failure("too-many-requests", 429);
    const note = `${this.#options.name}:key`;
    const user = this.#user ?? null;
    // Another tab, or this page before a reload, may have sent the same request.
    let key = await this.#notes.get(note);
    if (!/^[\d-]{16,64}$/.test(key)) key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    await this.#notes.set(note, key);
    if (!globalThis.navigator?.locks) {
      // Tabs that start at once overwrite the key. The last one counts.
      await sleep(50);
      key = (await this.#notes.get(note)) ?? key;
    }
    const answer = await this.#send("POST", PATH, user, { "Idempotency-Key": key });
    const session = answer && (await this.#take(answer, user));
    await this.#notes.remove(note);
    return session ?? this.#create();
  }

  async #changeUser() {
    const user = this.#user;
    this.#rest = Infinity; // A change without an answer is repeated at the next call.
    const answer = await this.#send(user ? "PUT" : "DELETE", `${PATH}/user`, user);
    return answer ? this.#take(answer, user) : this.#forget();
  }

  async #take({ status, headers, content }, user) {
    // The clock of a device may be wrong, so only durations count.
    const rest = Date.parse(headers.get("X-Jay-Session-Expires")) - Date.parse(`${content.start_time}Z`);
    this.#from = Date.now();
    this.#rest = (status === 201 && rest) || VALID_MS;
    this.#asked = user;
    this.#session = content;
    await this.#options.storage?.set(`${this.#options.name}:id`, content.session_id);
    return content;
  }

  async #forget() {
    this.#session = null;
    await this.#options.storage?.remove(`${this.#options.name}:id`);
    return null;
  }

  async #id() {
    const id = await this.#options.storage?.get(`${this.#options.name}:id`);
    return ID.test(id) ? id : null;
  }

  /** Return the answer, or null without a live session. Every request may be repeated. */
  async #send(method, path, user = null, more = {}) {
    const { url, key, storage } = this.#options;
    const headers = { "X-API-Key": key, ...more };
    const id = await this.#id();
    if (id && method !== "POST") headers["X-Jay-Tracking"] = id;
    if (user) headers["Content-Type"] = "application/json";
    const body = user && JSON.stringify({ user_id: user });
    const request = { method, headers, body, credentials: storage ? "omit" : "include", redirect: "manual" };
    for (let tried = 1; ; tried += 1) {
      try {
        return await ask(url + path, request);
      } catch (error) {
        const { kind, status, wait } = error;
        if (kind.startsWith("session-")) return null;
        if (status && status !== 429 && status < 500) throw error;
        if (tried === TRIES || wait > MAX_WAIT_MS) {
          if (status === 429) this.#createAfter = Date.now() + wait;
          throw error;
        }
        await sleep(wait + Math.random() * PAUSE_MS * 2 ** tried);
      }
    }
  }
}

async function ask(url, request) {
  let response;
  let content;
  try {
    response = await fetch(url, { ...request, signal: AbortSignal.timeout?.(TIMEOUT_MS) });
    content = await response.json();
  } catch (error) {
    // Without JSON, the answer has no content or is not from the service.
    if (error.name !== "SyntaxError") throw failure("connection-failed");
  }
  const { ok, status, headers } = response;
  if (ok && (status === 204 || ID.test(content?.session_id))) return { status, headers, content };
  const problem = `${content?.type}`.split("urn:jay:problem:")[1] ?? "unexpected-answer";
  throw failure(status < 500 ? problem : "unready", status, headers.get("Retry-After") * 1000 || 0);
}

function failure(kind, status = 0, wait = 0) {
  return Object.assign(new Error(`tracking: ${kind}`), { kind, status, wait });
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
