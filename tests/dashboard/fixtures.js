/** Answers of the API for the tests. */

/** @returns {import("../../service/api/static/dashboard/types.js").StoreAnswer} */
export function storeAnswer(fields = {}) {
  return {
    environment: "production",
    answered_in_ms: 0.41,
    server: "Valkey 9.1.2",
    memory_used_bytes: 1_500_000,
    memory_limit_bytes: 3_000_000,
    append_only_file: true,
    may_evict: false,
    memory_full_seconds: null,
    warnings: [],
    ...fields,
  };
}

/**
 * An answer of two hours or days. `created` maps each source to its sessions in each.
 * Twice as many were active at the start.
 */
export function sessionsAnswer(created, interval = "hour", tz = "UTC") {
  const starts =
    interval === "hour"
      ? ["2026-01-31T16:00:00Z", "2026-01-31T17:00:00Z"]
      : ["2026-01-30T23:00:00Z", "2026-01-31T23:00:00Z"];
  const sources = Object.entries(created).map(([source, numbers]) => ({
    source,
    active: numbers[1],
    created: numbers[0] + numbers[1],
    ended: 0,
    unique_users: 0,
  }));
  const series = starts.map((start, index) => {
    const nonzero = Object.entries(created).filter(([, numbers]) => numbers[index]);
    return {
      start,
      active: 2 * nonzero.reduce((sum, [, numbers]) => sum + numbers[index], 0),
      created: nonzero.reduce((sum, [, numbers]) => sum + numbers[index], 0),
      sources: Object.fromEntries(
        nonzero.map(([source, numbers]) => [source, { active: 2 * numbers[index], created: numbers[index] }]),
      ),
    };
  });
  const totals = { active: sources.reduce((sum, { active }) => sum + active, 0) };
  const [as_of, to] =
    interval === "hour"
      ? ["2026-01-31T17:30:00Z", "2026-01-31T18:00:00Z"]
      : ["2026-02-01T12:00:00Z", "2026-02-01T23:00:00Z"];
  return { as_of, to, tz, interval, totals, sources, series };
}
