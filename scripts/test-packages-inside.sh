#!/bin/bash
# The part of test-packages.sh that runs inside the root: /packages has the packages, /data-0.1.0 the state of that version.
set -euo pipefail

say() { echo "test-packages: $*"; }
fail() { say "FAILED: $*"; exit 1; }

# start_and_ask NAME: runs the service's command as its user until the API answers with this text at this path.
start_and_ask() {
    local path=$1 expected=$2 answer='' deadline=$((SECONDS + 60))
    install -d -o watchpost -g watchpost -m 0700 /run/watchpost
    RUNTIME_DIRECTORY=/run/watchpost STATE_DIRECTORY=/var/lib/watchpost XDG_CACHE_HOME=/var/cache/watchpost \
        setpriv --reuid=watchpost --regid=watchpost --clear-groups \
        watchpost run --no-table -c /etc/watchpost/watchpost.yaml >/tmp/watchpost.log 2>&1 &
    local pid=$!
    until answer=$(curl -sf "http://127.0.0.1:8480$path") && grep -q "$expected" <<<"$answer"; do
        [ $SECONDS -lt $deadline ] || { cat /tmp/watchpost.log; fail "$path does not answer $expected within 60 s: $answer"; }
        kill -0 $pid 2>/dev/null || { cat /tmp/watchpost.log; fail "watchpost ended"; }
        sleep 0.2
    done
    kill -TERM $pid
    wait $pid || { cat /tmp/watchpost.log; fail "watchpost ended with an error"; }
}

say "installing"
apt-get update -qq
apt-get install -y -qq --no-install-recommends /packages/*.deb >/tmp/apt.log 2>&1 || { tail -30 /tmp/apt.log; fail "apt-get install"; }
[ "$(stat -c '%U %a' /etc/watchpost /var/lib/watchpost | tr '\n' ' ')" = "watchpost 750 watchpost 700 " ] || fail "owners of the folders"
install -d -o watchpost -g watchpost -m 0700 /var/cache/watchpost

say "first start"
setpriv --reuid=watchpost --regid=watchpost --clear-groups watchpost check /etc/watchpost/watchpost.yaml
start_and_ask /healthz ok
watchpost generate man | head -1 | grep -q . || fail "the manual page"

say "a test scene"
cat >/etc/watchpost/watchpost.yaml <<YAML
http: {listen: 127.0.0.1:8480}
data_dir: /var/lib/watchpost
cameras:
  scene:
    source: {test: {scene: walkers, width: 320, height: 180, fps: 5}}
YAML
start_and_ask /api/cameras/scene streaming

say "elements"
apt-get install -y -qq --no-install-recommends gstreamer1.0-tools >/tmp/apt.log 2>&1
for element in shmringsink shmringsrc motiondetect regiondetect objecttrack watchposttestsrc; do
    gst-inspect-1.0 "$element" >/dev/null || fail "element $element"
done

say "a package that is installed again keeps configuration and data"
before=$(md5sum /etc/watchpost/watchpost.yaml)
touch /var/lib/watchpost/kept
dpkg -i /packages/watchpost_*.deb >/dev/null
[ "$before" = "$(md5sum /etc/watchpost/watchpost.yaml)" ] && [ -e /var/lib/watchpost/kept ] || fail "something was lost"

say "a state of 0.1.0, as systemd's DynamicUser left it"
mkdir -p /var/lib/private/watchpost
rm -rf /var/lib/watchpost
cp -r /data-0.1.0/. /var/lib/private/watchpost/
chown -R 61234:61234 /var/lib/private/watchpost
ln -s private/watchpost /var/lib/watchpost
dpkg -i /packages/watchpost_*.deb >/dev/null
[ ! -L /var/lib/watchpost ] && [ "$(stat -c %U /var/lib/watchpost)" = watchpost ] || fail "the state of 0.1.0 was not taken over"
[ -z "$(find /var/lib/watchpost ! -user watchpost -print -quit)" ] || fail "files of 0.1.0 belong to somebody else"

say "purge"
mkdir -p /srv/recordings
touch /srv/recordings/footage.mp4
apt-get purge -y -qq watchpost >/tmp/apt.log 2>&1 || { tail /tmp/apt.log; fail "purge"; }
for gone in /etc/watchpost /var/lib/watchpost /var/cache/watchpost /usr/bin/watchpost; do
    [ ! -e $gone ] || fail "$gone is still there after purge"
done
[ -e /srv/recordings/footage.mp4 ] || fail "recordings elsewhere were removed"
say "passed"
