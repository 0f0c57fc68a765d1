#!/bin/sh
# tools/backports-source: the backports of a release come from where the machine gets the release itself.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect WHAT WANTED FILE...: the fields printed for bookworm, joined.
expect() {
    what=$1 wanted=$2
    shift 2
    got=$(tools/backports-source -v release=bookworm "$@" | grep -v '^#' | tr '\n' ';' || true)
    if [ "$got" != "$wanted" ]; then
        printf 'not so: %s\n  wanted %s\n  got    %s\n' "$what" "$wanted" "$got" >&2
        failed=1
    fi
}

cat >"$dir/paragraphs.sources" <<'END'
Types: deb deb-src
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /keys/security.gpg

# The release itself.
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg
END
expect 'paragraphs: the mirror and key of the release, not those of its security updates' \
    'Types: deb;URIs: http://mirror.example/debian;Suites: bookworm-backports;Components: main;Signed-By: /keys/debian.gpg;' \
    "$dir/paragraphs.sources"

cat >"$dir/lines.list" <<'END'
deb-src http://source.example/debian bookworm main
deb http://other.example/debian trixie main
deb [arch=amd64 signed-by=/keys/line.gpg] http://line.example/debian bookworm contrib main
END
expect 'lines: with the key of the options' \
    'Types: deb;URIs: http://line.example/debian;Suites: bookworm-backports;Components: main;Signed-By: /keys/line.gpg;' \
    "$dir/lines.list"

printf 'deb http://plain.example/debian bookworm main\n' >"$dir/plain.list"
expect 'lines: without a key where there is none' \
    'Types: deb;URIs: http://plain.example/debian;Suites: bookworm-backports;Components: main;' "$dir/plain.list"

printf 'Types: deb\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\nEnabled: no\n' >"$dir/off.sources"
expect 'a source that is switched off is none' '' "$dir/off.sources"
expect 'the first of several' \
    'Types: deb;URIs: http://plain.example/debian;Suites: bookworm-backports;Components: main;' \
    "$dir/off.sources" "$dir/plain.list" "$dir/lines.list"

[ "$failed" -eq 0 ] && echo 'backports: passed'
exit "$failed"
