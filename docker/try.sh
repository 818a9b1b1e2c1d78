#!/bin/sh
# The containers, tried: builds, starts, adapts, predicts, kills, predicts again, takes all down.
# A Compose project of its own: what runs as `innerloop` and its volume stay as they are.
set -eu
cd "$(dirname "$0")"

export COMPOSE_PROJECT_NAME=innerloop-try PUBLISH="${PUBLISH:-127.0.0.1:8329}" API_REPLICAS=2 WORKER_REPLICAS=1
key=$(openssl rand -hex 32)
INNERLOOP_API_KEYS="try:$(printf %s "$key" | sha256sum | cut -d' ' -f1)"
export INNERLOOP_API_KEYS

ended() {
    status=$?
    [ "$status" = 0 ] || docker compose logs --tail 20
    docker compose down --volumes
    [ "$status" = 0 ] && echo "containers: all well"
}
trap ended EXIT
trap 'exit 1' INT TERM

# Of a refused attempt no body, which would stand before the answer of the next.
ask() {
    path=$1 && shift
    curl -sS --fail --retry 60 --retry-delay 1 --retry-all-errors --max-time 20 \
        -H "Authorization: Bearer $key" "http://$PUBLISH$path" "$@"
}

predict() {
    ask "/v1/models/$model/predictions" -F inputs=@../docs/drawings/zig-2.png -F inputs=@../docs/drawings/loop-2.png
}

docker compose up --build --detach --wait
ask /readyz
model=$(ask /v1/models -H 'Prefer: wait=20' \
    -F 'support[zig]=@../docs/drawings/zig-1.png' -F 'support[loop]=@../docs/drawings/loop-1.png' |
    sed -n 's/.*"id":"\(mdl_[0-9a-f]*\)".*/\1/p')
before=$(predict)
case $before in
*'"label":"zig"'*'"id":"loop-2.png","label":"loop"'*) echo "$before" ;;
*) echo "unexpected: $before" && exit 1 ;;
esac

# All adapted weights are lost with the cache, the record is not, and the worker comes back.
docker compose exec -T worker sh -c 'kill -9 -1' || true
docker compose up --detach --wait --force-recreate --no-deps redis-records redis-weights
ask /readyz
[ "$(predict)" = "$before" ] || { echo "another answer after the kill" && exit 1; }
