/**
 * Tracking sessions for web pages, TVs and apps.
 *
 * A page keeps its session by cookie. A device without cookies passes `storage`, and
 * the session is kept by header. No method throws: a failure is `null` or `false`, and
 * `onError` gets the reason.
 */

const PATH = "/v1/playouts/tracking/session";
const TRIES = 4;
const FIRST_PAUSE_MS = 300;

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
  const either = (own, other) => {
    try {
      return own(globalThis.localStorage);
    } catch {
      return other();
    }
  };
  return {
    get: (name) => either((store) => store.getItem(name), () => memory.get(name)),
    set: (name, value) => either((store) => store.setItem(name, value), () => memory.set(name, value)),
    remove: (name) => either((store) => store.removeItem(name), () => memory.remove(name)),
  };
}

export class Tracking {
  #options;
  #notes; // the key of a creation in progress, and the id without cookies
  #session = null;
  #user; // undefined: nobody has said anything about consent
  #turn = Promise.resolve();

  constructor(options) {
    this.#options = { name: "jay-tracking", gpc: false, origins: [], onError: () => {}, ...options };
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
    return this.#alone(async () => (await this.#find()) && (await this.#current()));
  }

  /** End the session. Return whether it has ended. */
  async end() {
    const ended = await this.#alone(async () => {
      const response = await this.#send("DELETE", PATH);
      if (response?.status !== 204) return null;
      this.#forget();
      return true;
    });
    return ended ?? false;
  }

  /** Fetch, with the session in a header for the origins in `origins`. */
  async fetch(input, init) {
    const request = new Request(input, init);
    const session = this.#options.origins.includes(new URL(request.url).origin) && (await this.session());
    if (session) request.headers.set("X-Jay-Tracking", session.session_id);
    return fetch(request);
  }

  /** The consent table: a user id only for a user who is logged in and has agreed. */
  #userOf({ userId = null, agreed = false } = {}) {
    const optedOut = this.#options.gpc && globalThis.navigator?.globalPrivacyControl;
    return agreed && userId && !optedOut ? String(userId) : null;
  }

  /** Run one operation at a time, in all tabs where the browser has Web Locks. */
  #alone(operation) {
    const run = () =>
      globalThis.navigator?.locks ? navigator.locks.request(this.#options.name, operation) : operation();
    const done = this.#turn.then(run).then(
      (result) => result ?? null,
      (error) => {
        this.#report(error);
        return null;
      },
    );
    this.#turn = done;
    return done;
  }

  async #current() {
    let session = await this.#find();
    if (session && this.#user !== undefined && (session.user_id ?? null) !== this.#user) {
      session = await this.#changeUser();
    }
    return session === null ? this.#create() : session;
  }

  /** Return the live session, null without one, and undefined when nobody knows. */
  async #find() {
    if (this.#session && Date.now() < this.#session.until) return this.#session;
    this.#session = null;
    const { storage, name } = this.#options;
    if (storage && !(await storage.get(`${name}:id`))) return null;
    const response = await this.#send("GET", PATH);
    if (response?.status === 200) return this.#take(response);
    if (response?.status !== 404) return undefined;
    await this.#forget();
    return null;
  }

  async #create() {
    const note = `${this.#options.name}:key`;
    // Another tab, or this page before a reload, may have sent the same request.
    const [owner, known] = ((await this.#notes.get(note)) ?? "").split(" ");
    const user = this.#user ?? null;
    const mark = user === null ? "guest" : "user";
    let key = owner === mark && known ? known : newKey();
    await this.#notes.set(note, `${mark} ${key}`);
    if (!globalThis.navigator?.locks) {
      // Tabs that start at once overwrite each other's key. The last one counts.
      await new Promise((resolve) => setTimeout(resolve, 50));
      key = ((await this.#notes.get(note)) ?? "").split(" ")[1] ?? key;
    }
    const response = await this.#send("POST", PATH, user, { "Idempotency-Key": key });
    if (response && response.status < 500 && response.status !== 429) await this.#notes.remove(note);
    if (response?.status === 409) return this.#create();
    return response?.status === 201 ? this.#take(response) : null;
  }

  async #changeUser() {
    const user = this.#user;
    const response = await this.#send(user === null ? "DELETE" : "PUT", `${PATH}/user`, user);
    if (response?.status === 200) return this.#take(response);
    this.#session = null; // asked for again at the next call
    return response?.status === 404 ? null : undefined;
  }

  async #take(response) {
    const content = await response.json();
    const expires = Date.parse(response.headers.get("X-Jay-Session-Expires") ?? "");
    // The device's clock may be wrong, so only the rest at the time of a creation counts.
    const rest = response.status === 201 ? expires - Date.parse(`${content.start_time.slice(0, 23)}Z`) : 60_000;
    this.#session = { ...content, until: Date.now() + (rest || 60_000) };
    await this.#options.storage?.set(`${this.#options.name}:id`, content.session_id);
    return this.#session;
  }

  async #forget() {
    this.#session = null;
    await this.#options.storage?.remove(`${this.#options.name}:id`);
  }

  /** Send a request until it is answered. Every request may be repeated. */
  async #send(method, path, user = null, more = {}) {
    const { url, key, storage, name } = this.#options;
    const headers = { "X-API-Key": key, ...more };
    const id = storage && (await storage.get(`${name}:id`));
    if (id && method !== "POST") headers["X-Jay-Tracking"] = id;
    if (user !== null) headers["Content-Type"] = "application/json";
    const body = user === null ? undefined : JSON.stringify({ user_id: user });
    let response = null;
    for (let number = 0; number < TRIES; number += 1) {
      if (number) await pause(number, response);
      try {
        response = await fetch(url + path, { method, headers, body, credentials: storage ? "omit" : "include" });
        if (response.status !== 429 && response.status < 500) break;
      } catch (error) {
        response = null;
        this.#report(error);
      }
    }
    if (response && response.status >= 400 && response.status !== 404) {
      this.#report(new Error(`the tracking service answered ${response.status}`));
    }
    return response;
  }

  #report(error) {
    try {
      this.#options.onError(error);
    } catch {
      // The page's own function must not break tracking.
    }
  }
}

function pause(number, response) {
  const asked = Number(response?.headers.get("Retry-After")) * 1000;
  const most = FIRST_PAUSE_MS * 2 ** number;
  return new Promise((resolve) => setTimeout(resolve, (asked || most) * (0.75 + Math.random() / 2)));
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
