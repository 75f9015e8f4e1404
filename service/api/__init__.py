"""HTTP: the routes, the dispatcher around them, and the handlers.

No module here imports `service.storage`. `service/app.py` passes the stores in.
"""
