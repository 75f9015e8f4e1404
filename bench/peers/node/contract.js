// The part of the contract that both Node servers share.

export const TOKEN = "__Secure-jay_tracking";
export const PATH = "/v1/playouts/tracking/session";
export const SOURCE = "jay.api.playout.1.0.0";
export const DAY_SECONDS = 86400;
export const { PORT, REDIS_PORT, API_KEY, ORIGIN } = process.env;

export const HEADERS = {
  "x-jay-api-version": "2025-05-19",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  vary: "Origin",
};

export const CORS_HEADERS = {
  "access-control-allow-origin": ORIGIN,
  "access-control-allow-credentials": "true",
  "access-control-expose-headers": `${TOKEN}, x-jay-api-version, Retry-After, X-Request-Id`,
};
