/**
 * Types that several modules share. Only `tsc` reads this file. Browsers never load it.
 * The shapes of the answers are those of `openapi.yaml`, reduced to the fields that the
 * dashboard shows. Times that end in `Ms` are in milliseconds since the epoch.
 */

import type { Slots } from "./series.js";

/**
 * Everything that changes while the dashboard runs. `state.js` creates the one object.
 */
export interface State {
  /** The operator key. Empty while nobody is signed in. */
  key: string;
  rangeName: string;
  /** The time zone of days and times, a name of the tz database. */
  zone: string;
  figure: Figure;
  /**
   * The service keeps no counts before this time. 0 while the service has not said so.
   */
  oldestMs: number;
  /** The time of the figures on the page. 0 while there are none. */
  asOfMs: number;
  /** The service's clock minus the clock of this machine. */
  clockSkewMs: number;
  slots: Slots;
  /** The last answer. */
  sessions: SessionsAnswer | null;
  /** The content of the chart. */
  stack: Stack | null;
}

export interface Range {
  /** The range as the tiles name it, such as `last 7 days`. */
  label: string;
  interval: Interval;
  days: number;
  /** The time between two requests. */
  pauseSeconds: number;
}

export type Interval = "hour" | "day";

/** The figure that the chart shows. */
export type Figure = "created" | "active";

/** A color of the chart: 1 to 8, `other`, or an empty string for none. */
export type Slot = number | "other" | "";

export interface Series {
  label: string;
  slot: Slot;
  values: number[];
}

export interface Stack {
  figure: Figure;
  interval: Interval;
  zone: string;
  /** The starts of the intervals. For active sessions also the time of the figures. */
  startsMs: number[];
  /** The end of the range. */
  endMs: number;
  totals: number[];
  /** From the bottom of the stack to its top. */
  series: Series[];
  asOfMs: number;
}

export interface Figures {
  sessions: SessionsAnswer;
  users: UsersAnswer;
  store: StoreAnswer;
}

export interface SourceTotals {
  source: string;
  active: number;
  created: number;
  ended: number;
  unique_users: number;
  consent_given: number;
  consent_withdrawn: number;
}

export interface Totals extends Omit<SourceTotals, "source"> {
  expired: number | null;
  peak_active: number | null;
  peak_at: string | null;
}

/** `active` is null where it is not known. */
export interface Point {
  start: string;
  active: number | null;
  created: number;
  sources: Record<string, { active: number | null; created: number }>;
}

export interface Definition {
  meaning: string;
  kind: string;
  error: string;
}

export interface SessionsAnswer {
  as_of: string;
  from: string;
  to: string;
  interval: Interval;
  tz: string;
  totals: Totals;
  sources: SourceTotals[];
  series: Point[];
  definitions: Record<string, Definition>;
}

export interface UsersAnswer {
  from: string;
  to: string;
  users: { user_id: string; created: { at_least: number; at_most: number } }[];
  others_at_most: number;
  definitions: { created: Definition; others_at_most: Definition };
}

export interface Warning {
  problem: string;
  advice: string;
}

/** A field is null where Redis does not report it, or where the service may not ask. */
export interface StoreAnswer {
  environment: string | null;
  answered_in_ms: number;
  server: string | null;
  memory_used_bytes: number | null;
  /** 0 where no limit is set. */
  memory_limit_bytes: number | null;
  append_only_file: boolean | null;
  may_evict: boolean | null;
  memory_full_seconds: number | null;
  warnings: Warning[];
}

/** The fields of a problem document (RFC 9457) that the dashboard reads. */
export interface Problem {
  type?: string;
  detail?: string;
  /** The start of the oldest counts. Sent when a range begins before them. */
  oldest?: string;
}

/** A value of the Redis panel. `isAlarming` values are red. */
export interface StatusValue {
  value: string;
  isAlarming?: boolean;
}

export type FailureKind =
  | "unreachable"
  | "unknown-key"
  | "forbidden"
  | "invalid"
  | "store-unavailable"
  | "overloaded"
  | "failed"
  | "aborted";
