# shellcheck shell=bash disable=SC2154
# What it takes to start the cluster's processes, and to make a node: a containerd, and a kubelet with it. Sourced by up and second-node,
# after common.sh and choose_node.

boot=$EPOCHREALTIME
elapsed() { awk -v from="$boot" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", to - from }'; }

answers() { inside "$bin/kubectl" --kubeconfig "$kubeconfig" --request-timeout=1s get --raw "$1" >/dev/null 2>&1; }
kubectl() { inside "$bin/kubectl" --kubeconfig "$kubeconfig" --request-timeout=5s "$@"; }

all_alive() {
    local pidfile
    for pidfile in "$cluster"/pid/*; do
        alive "$pidfile" || { dead="$(basename "$pidfile")" && return 1; }
    done
}

# start NAME CMD...: in the cluster's network namespace, in a session of its own, without what this script holds.
start() {
    local program="$1"
    shift
    nsenter --net="$namespace" -- setsid "$@" >"$log/$program.log" 2>&1 </dev/null 9>&- &
    echo $! >"$cluster/pid/$program"
    # Only then is it known by its namespace.
    until alive "$cluster/pid/$program" || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

# await SECONDS WHAT CMD...: until CMD succeeds. A process that died meanwhile ends the wait at once.
await() {
    local deadline=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@"; do
        if ! all_alive; then
            tail -n 20 "$log/$dead.log" >&2
            fail "$dead ended (its log is above, whole in $log/$dead.log)"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "$what: not within its time (logs: $log)"
        sleep 0.1
    done
    say "$what after $(elapsed)"
}

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
# certificate FILE SUBJECT EXTENSIONS
certificate() {
    openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" -extfile <(echo "$3") 2>/dev/null
}
# user FILE KUBECONFIG [SUBJECT]: a kubeconfig that holds all it needs. Each component is a user of its own, so that the audit log
# tells them apart; those for which Kubernetes has no role are administrators.
user() {
    local certificate="$1" path="$2"
    [[ $# -lt 3 ]] || certificate "$certificate" "$3" extendedKeyUsage=clientAuth
    cat >"$path" <<YAML
apiVersion: v1
kind: Config
current-context: $name
clusters:
  - name: $name
    cluster: {server: "https://$node_address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}
contexts:
  - name: $name
    context: {cluster: $name, user: $certificate}
users:
  - name: $certificate
    user: {client-certificate-data: $(base64 -w0 "$certificate.crt"), client-key-data: $(base64 -w0 "$certificate.key")}
YAML
    chmod 600 "$path"
}

start_containerd() {
    mkdir -p "$node_folder"
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE a sandbox that asks for a lower score dies at birth.
    # ptp: pods are routed, not bridged, so that replies pass kube-proxy's rules without the br_netfilter module.
    cat >"$node_folder/containerd.toml" <<TOML
version = 2
root = "$node_folder/containerd/root"
state = "$node_folder/containerd/state"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "$node_folder/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$node_folder/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
    mkdir -p "$node_folder/cni"
    cat >"$node_folder/cni/pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "$name", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$node_folder/addresses",
    "ranges": [[{"subnet": "10.244.${node#node}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
    start "containerd-$node" containerd --config "$node_folder/containerd.toml"
}

# The image that every pod's sandbox runs: one layer of one file.
pause_image() {
    local folder="$node_folder/pause" layer architecture
    architecture="$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')"
    mkdir -p "$folder"
    tar -C "$bin" --owner=0 --group=0 -cf "$folder/layer.tar" pause
    layer="$(sha256sum <"$folder/layer.tar" | cut -d' ' -f1)"
    cat >"$folder/config.json" <<JSON
{"os": "linux", "architecture": "$architecture", "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
JSON
    echo '[{"Config": "config.json", "RepoTags": ["localhost/pause:1"], "Layers": ["layer.tar"]}]' >"$folder/manifest.json"
    tar -C "$folder" -cf "$folder/pause.tar" manifest.json config.json layer.tar
    ctr --address "$containerd_socket" --namespace k8s.io images import "$folder/pause.tar" >"$log/pause-image-$node.log" 2>&1
}

# start_kubelet NUMBER ADDRESS
start_kubelet() {
    local number="$1" address="$2" folder
    for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [[ ! -e "$folder/cgroup.procs" ]] || mkdir -p "$folder/$node_cgroup"
    done
    (
        cd "$cluster/pki"
        certificate "kubelet-$node" "/O=system:nodes/CN=system:node:$node" "subjectAltName=DNS:$node,IP:$address"
        user "kubelet-$node" "$node_folder/kubelet.conf"
    )
    cat >"$node_folder/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $cluster/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $cluster/pki/kubelet-$node.crt
tlsPrivateKeyFile: $cluster/pki/kubelet-$node.key
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
cgroupRoot: /$node_cgroup
failCgroupV1: false
failSwapOn: false
clusterDNS: [$node_address]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: $log/pods
address: $address
port: $((10230 + number * 20))
healthzPort: $((10228 + number * 20))
volumePluginDir: $cluster/volume-plugins
# The disk is the machine's: what fills it is not this cluster's to evict or collect.
evictionHard: {}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
YAML
    start "kubelet-$node" "$bin/kubelet" --config "$node_folder/kubelet.yaml" --kubeconfig "$node_folder/kubelet.conf" --hostname-override "$node" \
        --node-ip "$address" --root-dir "$node_folder/kubelet"
}

node_ready() { kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null | grep -q True; }

# --- Its end ----------------------------------------------------------------------------------------------------------------

# stop, with a process id on each line of its input. Nothing here is worth a graceful end: the cluster's state goes with it.
stop() {
    local pids pid deadline=$((SECONDS + 20))
    mapfile -t pids
    [[ ${#pids[@]} -gt 0 ]] || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    for pid in "${pids[@]}"; do
        # One that only waits to be reaped holds nothing any more.
        while grep -qsv ') Z ' "/proc/$pid/stat"; do
            [[ $SECONDS -lt $deadline ]] || fail "process $pid does not end"
            sleep 0.02
        done
    done
}

started() {
    local pidfile
    for pidfile in "$@"; do alive "$pidfile" && cat "$pidfile"; done
    true
}
# Of this containerd only: others on this machine have other sockets.
shims() {
    local folder
    for folder in /proc/[0-9]*; do
        [[ "$(readlink "$folder/exe")" == */containerd-shim-* ]] &&
            tr '\0' '\n' <"$folder/cmdline" | grep -qxF -- "$containerd_socket" && basename "$folder"
    done 2>/dev/null
    true
}
# One folder per controller in cgroup v1, a single one in v2.
cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$node_cgroup"; }
containers() { cgroups | while read -r folder; do find "$folder" -name cgroup.procs -exec cat {} +; done | sort -u; }

# Ends the chosen node, and removes what it had.
stop_node() {
    # In the order in which none is left to restart another.
    started "$cluster/pid/kubelet-$node" "$cluster/pid/containerd-$node" | stop
    rm -f "$cluster/pid/kubelet-$node" "$cluster/pid/containerd-$node"
    shims | stop
    containers | stop
    unmount "$node_folder"
    cgroups | while read -r folder; do find "$folder" -depth -type d -exec rmdir {} +; done
    rm -rf --one-file-system "$node_folder"
}

# The deepest first.
unmount() { awk -v under="$1/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount --lazy "$mount"; done; }
