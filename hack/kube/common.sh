# shellcheck shell=bash disable=SC2034
# What build, up, down, exec and load agree on. Sourced, never run.
#
# Everything of one cluster is under its state folder, everything it runs is in its network namespace and its nodes' cgroups: these
# are how its parts are found again, whatever became of the run that started them.

kube="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/papo/kube"
bin="$cache/bin"
state="${PAPO_KUBE_STATE:-$cache/run}"
[[ "$state" == /* ]] || state="$PWD/$state"
cluster="$state/cluster" # gone after hack/kube/down
log="$state/log"         # stays, and one older in log.previous
kubeconfig="$state/kubeconfig"
node_address=198.18.0.1 # of RFC 2544's benchmarking range: in nobody's way

# A cluster in another folder is another cluster, and may run beside this one.
name="papo-kube-$(printf %s "$state" | cksum | cut -d' ' -f1)"
namespace="/run/netns/$name"

say() { printf 'kube: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
# The test runner counts exit code 3 as skipped.
cannot() { say "cannot host Kubernetes here: $*"; exit 3; }

# Does KUBECONFIG name a cluster that is not this one (kind, minikube, any other)?
foreign() { [[ -n "${KUBECONFIG:-}" && "$KUBECONFIG" != "$kubeconfig" ]]; }

# The first node is the one that has the control plane; hack/kube/second-node adds the other.
nodes=(node1 node2)
# choose_node NUMBER: what follows is about that one.
choose_node() {
    node="${nodes[$1 - 1]}"
    node_folder="$cluster/$node"
    containerd_socket="$node_folder/containerd.sock"
    # The pods' cgroups have a root of their own, because a kubelet removes every pod's cgroup that it does not know.
    node_cgroup="$name-$node"
}

# For commands that may belong to the user's own setup, ours come last.
use_foreign_tools() { export PATH="$PATH:$bin"; }

# Holds the cluster's lock until this script ends. What the script leaves running must not inherit descriptor 9.
lock() {
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock --wait 1800 9 || fail "another run holds $state/lock"
}

# alive PIDFILE: does that process still run? A process id that was given away since is not in the cluster's network namespace.
alive() {
    local pid
    pid="$(cat "$1" 2>/dev/null)" && [[ -n "$pid" && -e "$namespace" ]] &&
        [[ "$(stat --dereference --format=%i "/proc/$pid/ns/net" 2>/dev/null)" == "$(stat --format=%i "$namespace")" ]]
}

inside() { nsenter --net="$namespace" -- "$@"; }
