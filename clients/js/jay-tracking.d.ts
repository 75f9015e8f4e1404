/**
 * Where a device keeps the id of its session, and a creation without an answer. Methods
 * may return promises.
 */
export interface Storage {
  get(name: string): string | null | Promise<string | null>;
  set(name: string, value: string): unknown;
  remove(name: string): unknown;
}

/** The state of the visitor. A user id is sent only with both. */
export interface Consent {
  userId?: string | null;
  agreed?: boolean;
}

export interface Options {
  /** The service, such as `https://tracking.example.com`. */
  url: string;
  /** An API key with the scope `track`. */
  key: string;
  consent?: Consent;
  /** Without it, the session is kept by cookie. */
  storage?: Storage;
  /** Respect Global Privacy Control: send no user id of a visitor who opted out. */
  gpc?: boolean;
  /** The origins of your own APIs, to which `fetch` adds the session. */
  origins?: readonly string[];
  /** Gets the reason of each call that fails. An error of the storage is passed on as it is. */
  onError?: (error: TrackingError | Error) => void;
  /** The prefix of stored names and the name of the lock. */
  name?: string;
}

/** Has no session id and no user id, so it may be logged. */
export interface TrackingError extends Error {
  /**
   * The end of the problem's type, such as `invalid-request` or `too-many-requests`, or
   * `unready` (5xx), `unexpected-answer` or `connection-failed`.
   */
  kind: string;
  /** The status of the answer, or 0 without one. */
  status: number;
  /** The time of `Retry-After` in milliseconds, or 0. */
  wait: number;
}

export interface Session {
  session_id: string;
  /** UTC, with microseconds and without a zone. */
  start_time: string;
  source: string;
  user_id?: string;
}

export declare class Tracking {
  constructor(options: Options);
  session(): Promise<Session | null>;
  consent(state: Consent): Promise<Session | null>;
  end(): Promise<boolean>;
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
}

export declare function memoryStorage(): Storage;
export declare function localStorageOrMemory(): Storage;
