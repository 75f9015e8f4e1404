// Go's net/http with redigo, written for speed. Redis keeps the answer's JSON, and a read
// sends it without parsing it.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	token      = "__Secure-jay_tracking"
	source     = "jay.api.playout.1.0.0"
	path       = "/v1/playouts/tracking/session"
	exposed    = token + ", x-jay-api-version, Retry-After, X-Request-Id"
	layout     = "2006-01-02T15:04:05.000000"
	daySeconds = 86400
)

var (
	apiKey = os.Getenv("API_KEY")
	origin = os.Getenv("ORIGIN")
	pool   = &redis.Pool{MaxIdle: 64, MaxActive: 64, Wait: true, Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", "127.0.0.1:"+os.Getenv("REDIS_PORT"))
	}}
)

type record struct {
	SessionID string `json:"session_id"`
	StartTime string `json:"start_time"`
	Source    string `json:"source"`
	UserID    string `json:"user_id,omitempty"`
}

func uuid4() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var o [36]byte
	hex.Encode(o[0:8], b[0:4])
	hex.Encode(o[9:13], b[4:6])
	hex.Encode(o[14:18], b[6:8])
	hex.Encode(o[19:23], b[8:10])
	hex.Encode(o[24:36], b[10:16])
	o[8], o[13], o[18], o[23] = '-', '-', '-', '-'
	return string(o[:])
}

func sessionID(r *http.Request) string {
	if c, err := r.Cookie(token); err == nil {
		return c.Value
	}
	return r.Header.Get(token)
}

func setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: token, Value: value, MaxAge: maxAge, HttpOnly: true,
		Secure: true, SameSite: http.SameSiteLaxMode, Path: "/"})
}

func create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		UserID string `json:"user_id"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		w.WriteHeader(400)
		return
	}
	s := record{uuid4(), time.Now().UTC().Format(layout), source, in.UserID}
	answer, _ := json.Marshal(&s)
	c := pool.Get()
	defer c.Close()
	c.Send("SET", "s:"+s.SessionID, answer, "EX", daySeconds)
	c.Send("HINCRBY", "count", source, 1)
	c.Flush()
	_, err = c.Receive()
	c.Receive()
	if err != nil {
		w.WriteHeader(503)
		return
	}
	w.Header().Set(token, s.SessionID)
	setCookie(w, s.SessionID, daySeconds)
	w.WriteHeader(201)
	w.Write(answer)
}

func read(w http.ResponseWriter, r *http.Request) {
	c := pool.Get()
	answer, err := redis.Bytes(c.Do("GET", "s:"+sessionID(r)))
	c.Close()
	if err != nil {
		w.WriteHeader(404)
		io.WriteString(w, `{"error":"not found"}`)
		return
	}
	w.Write(answer)
}

func end(w http.ResponseWriter, r *http.Request) {
	c := pool.Get()
	defer c.Close()
	if n, _ := redis.Int(c.Do("DEL", "s:"+sessionID(r))); n > 0 {
		c.Do("HINCRBY", "count", source, -1)
	}
	w.Header().Del("Content-Type")
	setCookie(w, "", -1)
	w.WriteHeader(204)
}

func handle(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Jay-Api-Version", "2025-05-19")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Origin")
	h.Set("Content-Type", "application/json")
	if r.Header.Get("Origin") == origin {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", exposed)
	}
	switch {
	case r.Header.Get("X-Api-Key") != apiKey:
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"unauthorized"}`)
	case r.Method == "POST":
		create(w, r)
	case r.Method == "GET":
		read(w, r)
	case r.Method == "DELETE":
		end(w, r)
	}
}

func main() {
	http.HandleFunc(path, handle)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
