"""Every name that clients see: headers, paths, members. Pinned by golden tests; changing one breaks clients."""

from multidict import istr

SESSION_TOKEN = istr("__Secure-jay_tracking")
SESSION_TOKEN_ALIAS = istr("X-Jay-Tracking")
API_KEY = istr("X-API-Key")
API_VERSION = istr("x-jay-api-version")
REQUEST_ID = istr("X-Request-Id")
CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
CONTENT_SECURITY_POLICY = istr("Content-Security-Policy")
REFERRER_POLICY = istr("Referrer-Policy")
RETRY_AFTER = istr("Retry-After")

SESSION_PATHS = ("/v1/playouts/tracking/session", "/playouts/tracking/session")
OPERATOR_PATH = "/v1/playouts/tracking"  # of what back ends and operators ask
DASHBOARD_PATH = "/dashboard"
DOCS_PATH = "/docs"

# What any path of the service serves; a CONNECT has no path of which one could say less.
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST")

PROBLEM_TYPE_PREFIX = "urn:jay:problem:"
PROBLEM_CONTENT_TYPE = "application/problem+json"
JSON_CONTENT_TYPE = "application/json; charset=utf-8"

SERVER_NAME = "jay-tracking"
