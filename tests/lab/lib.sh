# A lab of its own for one test; sourced by bash. `lab_up NODES [BARE [FLAGS of dure lab up]]` (one LAN) and `lab_up_topology NAME|FILE NODES`
# give $dure, $lab, $KUBECONFIG and kubectl; everything goes when the script ends, however it ends.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
. tools/steps.sh
export dure=${DURE-$PWD/build/release/dure} lab=test-$$
kubectl=$(newest_kubectl)
export kubectl

skip() { skipped=$*; echo "$*"; exit 77; }
[[ $EUID -eq 0 ]] || skip "needs root"
[[ -x $dure ]] || { echo "build/release/dure is not there; run ./test or cmake --preset release && ninja -C build/release"; exit 1; }
[[ -n $kubectl ]] || skip "no kubectl on the PATH"
command -v containerd > /dev/null || skip "no containerd"

# For nodes of kind systemd and vm: what they are made from is made once, in a minute or two, and kept for later tests.
lab_needs_roots() {
  export DURE_LAB_CACHE=${DURE_LAB_CACHE-/var/lib/dure-lab/cache}
  lab_roots=yes
}

lab_up() { lab_start "$1" --nodes "$1" --bare "${2-0}" "${@:3}"; }
lab_up_topology() { lab_start "$2" "$1"; }

lab_start() {  # NODES-THAT-BECOME-READY ARGUMENT...
  # Below /var/lib, as the default is: a node covers that folder with its own.
  DURE_LAB_FOLDER=$(mktemp -d /var/lib/dure-lab-test-XXXXXX)
  export DURE_LAB_FOLDER
  trap lab_end EXIT
  echo "kubectl: $kubectl $("$kubectl" version --client 2> /dev/null | head -n 1)"
  "$dure" lab up --name "$lab" --max-minutes 20 "${@:2}" 2> >(tee "$DURE_LAB_FOLDER/error" >&2) || lab_logs_and_fail
  KUBECONFIG=$("$dure" lab kubeconfig --name "$lab" --path)
  export KUBECONFIG
  tools/import_busybox "$dure" "$lab" > /dev/null || exit 1
  [[ -n ${lab_not_ready-} ]] || wait_for 60 nodes_ready "$1" || exit 1
}

lab_logs_and_fail() {
  # Without a Debian mirror there are no such nodes; whatever else goes wrong there is a failure.
  local why='Failed to fetch|Could not resolve|Temporary failure resolving|Unable to connect|Connection (timed out|failed)'
  if [[ -n ${lab_roots-} ]] && grep -q 'mmdebstrap ended' "$DURE_LAB_FOLDER/error"; then
    why=$(grep -m 1 -E "$why" "$DURE_LAB_CACHE/mmdebstrap.log") && skip "the nodes' root file system could not be downloaded: $why"
  fi
  tail -n 30 "$DURE_LAB_FOLDER/$lab"/supervisor.log "$DURE_LAB_FOLDER/$lab"/nodes/*/var-log/*.log 2> /dev/null
  exit 1
}

lab_end() {
  local status=$?
  if ((status)) && [[ -n ${DURE_LAB_KEEP_LOGS-} ]]; then cp -r "$DURE_LAB_FOLDER/$lab/nodes" "$DURE_LAB_KEEP_LOGS" 2> /dev/null; fi
  if ((status && status != 77)); then tail -n 15 "$DURE_LAB_FOLDER/$lab"/nodes/*/var-log/dure-*.log 2> /dev/null; fi
  "$dure" lab down --name "$lab" || status=1
  rm -rf "$DURE_LAB_FOLDER"
  if ((status == 77)); then echo "$skipped"; fi
  exit $status
}

# exec_pod POD COMMAND...: its output. kubectl may throw away the first bytes of a pod that answers before all of its
# streams are known; it says so, and is asked once more then, and only then.
exec_pod() {
  local pod=$1 said out status
  shift
  said=$(mktemp)
  out=$("$kubectl" exec "$pod" -- "$@" 2> "$said"); status=$?
  if grep -q 'Unknown stream id 1, discarding message' "$said"; then
    out=$("$kubectl" exec "$pod" -- "$@" 2> "$said"); status=$?
  fi
  cat "$said" >&2
  rm -f "$said"
  [[ -z $out ]] || printf '%s\n' "$out"
  return $status
}

inside() { local node=$1; shift; "$dure" lab exec --name "$lab" "$node" -- "$@"; }
