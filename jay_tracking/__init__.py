"""The package that installs the service, without a general name in site-packages.

The wheel has the folder `service/` of the repository as `jay_tracking/service/`. The
modules there import each other as `service.…`, and __main__.py makes that work.
"""
