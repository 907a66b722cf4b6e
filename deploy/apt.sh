#!/bin/sh
# What some tests need beyond Python, on a Debian that lets us install: programs of the range, and a browser for the
# report. Changes nothing where they are all there, or where this is no Debian or not root, and never fails: the tests
# that miss a program are skipped and say so.
PATH="$PATH:/usr/sbin:/sbin"

lacking=""
while read -r program package; do
    command -v "$program" >/dev/null || lacking="$lacking $package"
done <<LIST
ip iproute2
setpriv util-linux
tcpdump tcpdump
nmap nmap
hydra hydra
hping3 hping3
dnsmasq dnsmasq-base
mosquitto mosquitto
mosquitto_pub mosquitto-clients
sshd openssh-server
ssh openssh-client
vsftpd vsftpd
curl curl
openssl openssl
chromium chromium
LIST

[ -n "$lacking" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests that need one of these are skipped:$lacking"
    exit 0
fi

echo "installing for the tests:$lacking"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# Servers come with their programs only: nothing may be started by an installation.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=yes; }
# shellcheck disable=SC2086  # one word a package
timeout 300 sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"' - $lacking >"$log" 2>&1 </dev/null ||
    { echo "could not install them, tests that need one of them are skipped:"; tail -n 3 "$log"; }
[ -z "${made:-}" ] || rm -f "$policy"
rm -f "$log"
exit 0
