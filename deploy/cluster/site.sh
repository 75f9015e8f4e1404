#!/bin/sh
# Prints the site of SAMPLE (deploy/nginx/jay-tracking.conf) for the instances of the
# service in INSTANCES, without TLS. LISTEN is the address that nginx listens on.
set -eu
servers=$(printf 'server %s max_fails=0; ' $INSTANCES)
sed -e "s/server 127.0.0.1:8080 max_fails=0;/$servers/" -e "s/listen 443 ssl;/listen $LISTEN;/" -e /ssl_certificate/d "$SAMPLE"
