// express-session with connect-redis, as its documentation shows. The library decides on
// the cookie, the key and the record, and it reads no session header.

import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { API_KEY, CORS_HEADERS, DAY_SECONDS, HEADERS, ORIGIN, PATH, PORT, REDIS_PORT, SOURCE, TOKEN } from "./contract.js";

const redis = await createClient({ url: `redis://127.0.0.1:${REDIS_PORT}` }).connect();
const app = express();

app.use((request, response, next) => {
  response.set(HEADERS);
  if (request.get("Origin") === ORIGIN) response.set(CORS_HEADERS);
  if (request.get("X-API-Key") === API_KEY) next();
  else response.status(401).json({ error: "unauthorized" });
});
app.use(express.json());
app.use(
  session({
    store: new RedisStore({ client: redis, prefix: "x:", ttl: DAY_SECONDS, disableTouch: true }),
    secret: "bench",
    resave: false,
    saveUninitialized: false,
    name: TOKEN,
    cookie: { maxAge: DAY_SECONDS * 1000, sameSite: "lax", secure: "auto" },
  }),
);

app.post(PATH, async (request, response) => {
  const userId = request.body?.user_id;
  request.session.record = {
    start_time: new Date().toISOString(),
    source: SOURCE,
    ...(userId && { user_id: userId }),
  };
  await redis.hIncrBy("count", SOURCE, 1);
  response.set(TOKEN, request.sessionID).status(201);
  response.json({ session_id: request.sessionID, ...request.session.record });
});

app.get(PATH, (request, response) => {
  const { record } = request.session;
  if (record) response.json({ session_id: request.sessionID, ...record });
  else response.status(404).json({ error: "not found" });
});

app.delete(PATH, async (request, response) => {
  if (request.session.record) await redis.hIncrBy("count", SOURCE, -1);
  request.session.destroy(() => {
    response.clearCookie(TOKEN, { path: "/", httpOnly: true, secure: true, sameSite: "lax" });
    response.status(204).end();
  });
});

const server = app.listen(Number(PORT), "127.0.0.1");
// The default, 5 s, closes idle connections before they are measured.
server.keepAliveTimeout = 75000;
