"""Every name that clients see: headers, methods, paths, fields. Pinned by golden tests.

Changing a name breaks clients.
"""

from aiohttp import hdrs
from multidict import istr

SESSION_TOKEN = istr("__Secure-jay_tracking")
SESSION_TOKEN_ALIAS = istr("X-Jay-Tracking")
IDEMPOTENCY_KEY = istr("Idempotency-Key")
SESSION_EXPIRES = istr("X-Jay-Session-Expires")
FORWARDED_SESSION = istr("X-Jay-Session")
SESSION_REF = istr("X-Jay-Session-Ref")
SESSION_SOURCE = istr("X-Jay-Source")
SESSION_ID = istr("X-Jay-Session-Id")
USER_ID = istr("X-Jay-User-Id")
BAGGAGE = istr("baggage")
API_KEY = istr("X-API-Key")
API_VERSION = istr("x-jay-api-version")
REQUEST_ID = istr("X-Request-Id")
CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
CONTENT_SECURITY_POLICY = istr("Content-Security-Policy")
REFERRER_POLICY = istr("Referrer-Policy")
RETRY_AFTER = istr("Retry-After")
X_FORWARDED_FOR = istr("X-Forwarded-For")
# Browsers send it, and pages cannot. So CORS needs no entry for it.
SEC_GPC = istr("Sec-GPC")

# The request headers that the API reads. CORS allows them to pages.
REQUEST_HEADERS = (hdrs.CONTENT_TYPE, API_KEY, API_VERSION, SESSION_TOKEN, SESSION_TOKEN_ALIAS, IDEMPOTENCY_KEY)

# The response headers that CORS lets a page read. Browsers let every page read
# Cache-Control and Content-Type, and never Set-Cookie.
RESPONSE_HEADERS = (
    SESSION_TOKEN,
    SESSION_EXPIRES,
    FORWARDED_SESSION,
    SESSION_REF,
    SESSION_SOURCE,
    SESSION_ID,
    USER_ID,
    BAGGAGE,
    API_VERSION,
    RETRY_AFTER,
    REQUEST_ID,
    hdrs.ALLOW,
    hdrs.WWW_AUTHENTICATE,
    CONTENT_TYPE_OPTIONS,
    hdrs.VARY,
)

# The methods of routes, and those that CORS allows to pages.
METHODS = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_DELETE)
# `Allow` for a request without a known path, such as `OPTIONS *` and CONNECT.
ALLOW = tuple(sorted((*METHODS, hdrs.METH_OPTIONS)))

SESSION_PATHS = ("/v1/playouts/tracking/session", "/playouts/tracking/session")
# Appended to a session path for the routes that set and remove the user.
USER_SUFFIX = "/user"
# The routes of back ends and operators begin with this prefix.
OPERATOR_PATH = "/v1/playouts/tracking"
STORE_STATUS_PATH = f"{OPERATOR_PATH}/analytics/store"
FORWARD_AUTH_PATHS = ("/v1/playouts/tracking/forward-auth", "/playouts/tracking/forward-auth")
# In the log and the metrics, this replaces the visitor's path behind forward-auth.
VISITOR_PATH = "/{path}"
LIVEZ_PATH = "/livez"
DASHBOARD_PATH = "/dashboard"
DOCS_PATH = "/docs"
PRIVACY_PATH = "/privacy"
GPC_PATH = "/.well-known/gpc.json"
STATIC_PATH = "/static/"

PROBLEM_TYPE_PREFIX = "urn:jay:problem:"
PROBLEM_CONTENT_TYPE = "application/problem+json"
JSON_CONTENT_TYPE = "application/json; charset=utf-8"

SERVER_NAME = "jay-tracking"
