# What the scripts beside it share; they source it.
#
# A server script is used as `SCRIPT run DIR [OPTION…]`. It makes the folder DIR, keeps all that its server has in
# there, and writes one line of JSON to its standard output:
#
# - `{"uri":…,"base":…}` once the server answers. Keys and values hold no quotes and no backslashes. The server
#   runs until the script's standard input ends, or a signal asks the script to end; then server and DIR are gone.
#   If the script itself is killed, the kernel stops the server, and only DIR stays.
# - `{"skipped":"why"}` where the server cannot be run here. The script then ends with status 77.
#
# Anything else is a failure: words on standard error, and status 1.

set -euo pipefail

readonly NAME=${0##*/}
readonly STARTUP_SECONDS=300
server=''
watcher=''
dir=''
made=''

die() {
    printf '%s: %s\n' "$NAME" "$*" >&2
    exit 1
}

# The comment at the head of the script.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

skip() {
    printf '{"skipped":"%s"}\n' "$*"
    exit 77
}

# Ends as skipped unless all these commands are there.
needs() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || skip "$command is not installed (tests/servers/install installs it)"
    done
}

needs_root() {
    ((EUID == 0)) || skip 'this server can only be run by root'
}

# Makes the folder, and sees to it that nothing is left at the end.
begin() {
    dir=$1
    # The name goes unquoted into configuration files and JSON.
    [[ $dir =~ ^/[A-Za-z0-9._/-]+$ ]] || die "$dir must be an absolute path of letters, digits, dots and hyphens"
    mkdir -m 0755 -- "$dir" || die "$dir must not exist, and the folder above it must"
    made=yes
    exec 3<&0 </dev/null
    trap finish EXIT
    trap 'exit 1' PIPE
    trap 'exit 0' HUP INT TERM
}

finish() {
    local status=$?
    trap '' HUP INT PIPE TERM
    trap - EXIT
    stop_server
    if [[ -n $watcher ]]; then
        kill "$watcher" 2>/dev/null || true
    fi
    if ((status != 0)) && [[ -s $dir/log ]]; then
        printf '%s: the last lines of its log:\n' "$NAME" >&2
        tail -n 20 -- "$dir/log" >&2
    fi
    [[ -z $made ]] || rm -rf -- "$dir"
    exit "$status"
}

stop_server() {
    local deadline=$((SECONDS + 15))
    [[ -n $server ]] || return 0
    kill "$server" 2>/dev/null || true
    while kill -0 "$server" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            kill -KILL "$server" 2>/dev/null || true
            break
        fi
        sleep 0.02
    done
    wait "$server" 2>/dev/null || true
    server=''
}

# Starts a server that stays in the foreground, as the account given, or as the own one if that is empty. `setpriv`
# lets it die with this script.
launch() {
    local account=$1
    local become=()
    shift
    if [[ -n $account ]]; then
        become=(--reuid "$account" --regid "$(id -g "$account")" --clear-groups)
    fi
    # Twice, since a process that becomes another account forgets the signal.
    setpriv "${become[@]}" -- setpriv --pdeathsig KILL -- "$@" >>"$dir/log" 2>&1 </dev/null 3<&- &
    server=$!
}

# Waits until a command succeeds. Fails if the server ends, or takes longer than it may.
until_up() {
    local deadline=$((SECONDS + STARTUP_SECONDS))
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$server" 2>/dev/null; then
            server=''
            return 1
        fi
        ((SECONDS < deadline)) || die "no answer within $STARTUP_SECONDS s"
        sleep 0.02
    done
    kill -0 "$server" 2>/dev/null
}

# Says what is there, and stays until it is no longer wanted.
serve() {
    printf '{'
    printf '"%s":"%s",' "$@" | sed 's/,$//'
    printf '}\n'
    cat <&3 >/dev/null &
    watcher=$!
    wait -n "$server" "$watcher" || true
    kill -0 "$server" 2>/dev/null || die 'the server ended by itself'
}

# A port that is not among those the kernel hands out to outgoing connections. Whoever finds it taken takes another.
random_port() {
    printf '%d' $((10000 + SRANDOM % 20000))
}

# In the folder $1: ca.pem; server.pem for localhost and the IP address $2, client.pem for the name $3 (a subject as
# openssl takes it), each with its .key; stranger.pem, a CA that has signed nothing.
certificates() {
    local folder=$1 address=$2 subject=$3
    local ca=(-addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign')
    certificate "$folder/ca" '/CN=usersync tests' "${ca[@]}"
    certificate "$folder/stranger" '/CN=stranger' "${ca[@]}"
    local leaf=(-CA "$folder/ca.pem" -CAkey "$folder/ca.key" -addext 'basicConstraints=critical,CA:FALSE')
    certificate "$folder/server" '/CN=localhost' "${leaf[@]}" \
        -addext "subjectAltName=DNS:localhost,IP:$address" -addext 'extendedKeyUsage=serverAuth'
    certificate "$folder/client" "$subject" "${leaf[@]}" -addext 'extendedKeyUsage=clientAuth'
}

certificate() {
    local file=$1 subject=$2
    shift 2
    # Its own configuration: the system's one turns every certificate into a CA's.
    openssl req -x509 -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -newkey ec \
        -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "$subject" "$@" \
        -keyout "$file.key" -out "$file.pem" 2>"$dir/openssl.log" || die "$(tail -n 3 "$dir/openssl.log")"
}
