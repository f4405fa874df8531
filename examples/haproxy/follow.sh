#!/bin/sh
# Run by `handover peer watch --exec`: sends the requests of a service to its youngest container that
# is up, through haproxy's runtime API. Fails unless haproxy says afterwards that it does so; it is
# then run again.
#
# SOCKET   haproxy's stats socket             SERVER   its server, as BACKEND/SERVER
# PORT     of the service in its containers   STATE    where haproxy reads its state at the start
set -eu
: "${SOCKET:=/run/haproxy/admin.sock}" "${STATE:=/run/haproxy/state}"
: "${SERVER:=$HANDOVER_SERVICE/${HANDOVER_SERVICE}1}" "${PORT:=8080}"

# Nobody is up, or was not heard for long: where requests go now is as good as anything.
test "$HANDOVER_STATUS" = UP || exit 0

tell() {
    printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$SOCKET"
}

tell "set server $SERVER addr $HANDOVER_ADDRESS port $PORT; set server $SERVER state ready"

state=$(tell "show servers state ${SERVER%%/*}")
# Columns of the state file, version 1: be_id be_name srv_id srv_name srv_addr ... (19) srv_port
printf '%s\n' "$state" | awk -v name="${SERVER##*/}" -v addr="$HANDOVER_ADDRESS" -v port="$PORT" '
    $4 == name && $5 == addr && $19 == port { there = 1 }
    END { exit !there }'

tell "show servers state" > "$STATE.new"
mv "$STATE.new" "$STATE"
