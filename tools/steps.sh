# Steps that ./up and ./test share; sourced by bash.

die() { echo "${0##*/}: $*" >&2; exit 1; }

# step WHAT COMMAND...: runs it, shows what and how long; on failure its output and a non-zero exit.
step() {
  local what=$1 log start=$SECONDS
  shift
  log=$(mktemp)
  if [[ -t 1 ]]; then printf '%-46s ...' "$what"; fi
  if "$@" > "$log" 2>&1; then
    if [[ -t 1 ]]; then printf '\r'; fi
    printf '%-46s %4ds\n' "$what" $((SECONDS - start))
    rm -f "$log"
  else
    if [[ -t 1 ]]; then printf '\r'; fi
    printf '%-46s failed after %ds:\n' "$what" $((SECONDS - start))
    tail -n 40 "$log" | sed 's/^/  | /'
    rm -f "$log"
    exit 1
  fi
}

# install_packages KIND...: the lists in `packages`; quick when everything is there.
install_packages() {
  local kind names=()
  for kind in "$@"; do
    # shellcheck disable=SC2207
    names+=($(awk -v kind="$kind" '$1 == kind {for (i = 2; i <= NF; ++i) print $i}' packages))
  done
  install_named "${names[@]}"
}

install_named() {
  local name missing=()
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2> /dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get > /dev/null || { echo "these Debian packages are missing: ${missing[*]}"; return 1; }
  [[ $EUID -eq 0 ]] || { echo "these Debian packages are missing: ${missing[*]} (install them, or run this as root)"; return 1; }
  apt-get update -q
  # Services of packages (containerd) must not start by themselves: every lab node has its own.
  local policy=/usr/sbin/policy-rc.d made=0
  if [[ ! -e $policy ]]; then printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=1; fi
  local status=0
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" || status=$?
  if ((made)); then rm -f $policy; fi
  return $status
}

build_release() {
  cmake --preset release > /dev/null && ninja -C build/release dure
}

# The newest kubectl on the PATH.
newest_kubectl() {
  local path best='' best_version='' version
  while read -r path; do
    version=$("$path" version --client 2> /dev/null | grep -oE 'v[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)
    if [[ -z $best || $(printf '%s\n%s\n' "$best_version" "$version" | sort -V | tail -n 1) == "$version" && $version != "$best_version" ]]; then
      best=$path best_version=$version
    fi
  done < <(type -ap kubectl | sort -u)
  echo "$best"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  while ! "$@"; do
    if ((SECONDS >= until)); then echo "gave up waiting for: $*"; "$kubectl" get pods,nodes -A -o wide || true; return 1; fi
    sleep 0.5
  done
}

nodes_ready() { [[ $("$kubectl" get nodes --no-headers 2> /dev/null | awk '$2 == "Ready"' | wc -l) -eq $1 ]]; }
pod_running() { [[ $("$kubectl" get pod "$1" -o 'jsonpath={.status.phase}' 2> /dev/null) == Running ]]; }
hello_answers() { "$kubectl" exec asker -- timeout 3 wget -qO- http://hello.default.svc.cluster.local | grep 'hello from dure'; }
verify() { build/release/dure verify --kubeconfig "$KUBECONFIG" | tee "$1"; return "${PIPESTATUS[0]}"; }  # FILE for the matrix
apply_hello() {  # NODE of the asker
  "$kubectl" apply -f examples/hello/hello.yaml &&
    "$kubectl" apply -f <(sed "s/^spec:/spec:\n  nodeName: $1/" examples/hello/asker.yaml)
}
