#!/bin/sh
# Makes a Cluster of the nodes in NODES, unless it exists: half of them primaries, each
# with a replica. Returns when all nodes serve. NODES has addresses like 10.0.0.1:6379,
# separated by spaces. VALKEYCLI_AUTH and REDISCLI_AUTH have the password of `admin`.
set -eu
cli=$(command -v valkey-cli || command -v redis-cli)

ask() { # ADDRESS COMMAND...
  address=${1%@*}
  shift
  "$cli" -h "${address%:*}" -p "${address##*:}" --user admin "$@"
}

count() { # the number of nodes that a command finds a line for: PATTERN COMMAND...
  pattern=$1 found=0
  shift
  for node in $NODES; do
    if ask "$node" "$@" 2>/dev/null | grep -q "$pattern"; then found=$((found + 1)); fi
  done
  echo "$found"
}

total=$(echo "$NODES" | wc -w)
until [ "$(count PONG ping)" = "$total" ]; do sleep 0.5; done
if [ "$(count cluster_slots_assigned:16384 cluster info)" = 0 ]; then
  # shellcheck disable=SC2086 # NODES is a list
  "$cli" --user admin --cluster create $NODES --cluster-replicas 1 --cluster-yes
fi
until [ "$(count cluster_state:ok cluster info)" = "$total" ]; do sleep 0.5; done
