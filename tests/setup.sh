#!/bin/sh
# Sees to it that a command's tools are there: silent and quick when they are, installs what is missing on Debian and
# Ubuntu, and says elsewhere what to install.
#
#   tests/setup.sh NEED…      any of: build run raspi4b check image test prove gdb linux
#   tests/setup.sh doctor     what is found, against what is known to work
#
# NO_INSTALL=1 only tells. DTB=FILE is a Raspberry Pi 4 device tree to use instead of Debian's, LINUX=FILE an arm64
# Linux kernel.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin

target=aarch64-unknown-none-softfloat
toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
build=${BUILD:-build}
device_tree=$build/bcm2711-rpi-4-b.dtb
# The boards with the same chip, and one with another, for tests.
other_trees="bcm2711-rpi-400.dtb bcm2711-rpi-cm4-io.dtb bcm2837-rpi-3-b.dtb"
linux=$build/linux-arm64.img
qemu=${QEMU:-qemu-system-aarch64}

# Packages to install with apt, and sentences about what this script cannot do.
packages=
problems=

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s\n' "setup: $*" >&2; }
want() { case " $packages " in *" $1 "*) ;; *) packages="$packages $1" ;; esac; }
problem() { problems="$problems  - $*
"; }

id=unknown codename= like=
if [ -r /etc/os-release ]; then
    # Not all of these variables are in every distribution's file.
    id=$(. /etc/os-release && printf %s "${ID:-unknown}")
    like=$(. /etc/os-release && printf %s "${ID_LIKE:-}")
    codename=$(. /etc/os-release && printf %s "${UBUNTU_CODENAME:-${VERSION_CODENAME:-}}")
fi
case " $id $like " in
*" ubuntu "*) family=ubuntu ;;
*" debian "*) family=debian ;;
*" fedora "*) family=fedora ;;
*" arch "*) family=arch ;;
*) if [ "$(uname -s)" = Darwin ]; then family=macos; else family=other; fi ;;
esac
if [ "${NO_INSTALL:-}" = 1 ]; then
    installs=no
elif have apt-get && { [ "$family" = debian ] || [ "$family" = ubuntu ]; }; then
    installs=yes
else
    installs=no
fi

# as_root COMMAND…: with sudo where that is needed.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        say "sudo $*"
        sudo "$@"
    else
        say "this needs root and there is no sudo; run as root: $*"
        return 1
    fi
}

# how_to TOOL: the command that installs it here.
how_to() {
    case $family:$1 in
    fedora:qemu) echo "sudo dnf install qemu-system-aarch64" ;;
    fedora:dtc) echo "sudo dnf install dtc" ;;
    fedora:gdb) echo "sudo dnf install gdb, then: make gdb GDB=gdb" ;;
    fedora:*) echo "sudo dnf install $1" ;;
    arch:qemu) echo "sudo pacman -S qemu-system-aarch64" ;;
    arch:gdb) echo "sudo pacman -S gdb, then: make gdb GDB=gdb" ;;
    arch:*) echo "sudo pacman -S $1" ;;
    macos:gcc) echo "xcode-select --install" ;;
    macos:gdb) echo "brew install aarch64-elf-gdb, then: make gdb GDB=aarch64-elf-gdb" ;;
    macos:*) echo "brew install $1" ;;
    debian:qemu) echo "sudo apt-get install qemu-system-arm (on Debian 12: from bookworm-backports)" ;;
    ubuntu:qemu) echo "sudo apt-get install qemu-system-arm" ;;
    debian:dtc | ubuntu:dtc) echo "sudo apt-get install device-tree-compiler" ;;
    debian:gdb | ubuntu:gdb) echo "sudo apt-get install gdb-multiarch" ;;
    debian:* | ubuntu:*) echo "sudo apt-get install $1" ;;
    *) echo "install it with your system's package manager" ;;
    esac
}

# missing TOOL PACKAGE WHY: notes one missing tool, to be installed or told about.
missing() {
    if [ $installs = yes ]; then want "$2"; else problem "$1, $3: $(how_to "$1")"; fi
}

need_linker() { have cc || missing gcc "gcc libc6-dev" "to link the tools that run on this machine"; }

# need_rust [COMPONENT…]: the pinned toolchain with the target; asking rustc where it lives is the cheapest question.
need_rust() {
    root=$(rustc --print sysroot 2>/dev/null) || root=
    lacks=
    [ -n "$root" ] && [ -d "$root/lib/rustlib/$target/lib" ] || lacks=yes
    for component in "$@"; do
        [ -n "$root" ] && [ -x "$root/bin/cargo-$component" ] || lacks=yes
    done
    [ -n "$lacks" ] || return 0
    if ! have rustup && [ $installs = yes ] && apt_has rustup; then
        # Debian 13 has it; what it fetches is looked at again after that.
        want rustup && want ca-certificates
        return 0
    fi
    if ! have rustup; then
        problem "Rust $toolchain with the target $target: get rustup from https://rustup.rs, then run this again"
        return 0
    fi
    add="rustup toolchain install $toolchain --profile minimal --no-self-update --component rustfmt --component clippy --target $target"
    if [ "${NO_INSTALL:-}" = 1 ]; then
        problem "Rust $toolchain with the target $target: $add"
        return 0
    fi
    say "installing Rust $toolchain with the target $target"
    # An installed toolchain may still lack the target when rustup has nothing to update: ask for it by name, too.
    $add >&2 && rustup target add --toolchain "$toolchain" $target >&2 && return 0
    problem "Rust $toolchain with the target $target: rustup could not fetch it (no network?); once it can: $add"
}

qemu_version() { "$qemu" --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p'; }

# need_qemu MACHINE: an emulator that knows the machine.
need_qemu() {
    if have "$qemu"; then
        "$qemu" -M help 2>/dev/null | grep -q "^$1 " && return 0
        found="the installed QEMU $(qemu_version) does not know the machine $1"
    else
        found="QEMU is not installed"
    fi
    if [ -n "${QEMU:-}" ]; then
        problem "QEMU=$QEMU: $found"
    elif [ $installs = yes ]; then
        want qemu-system-arm
        wanted_machine=$1
    else
        problem "QEMU 9.0 or newer ($found): $(how_to qemu)"
    fi
}

need_command() { have "$2" || missing "$1" "$3" "$4"; }

# --- apt ---------------------------------------------------------------------------------------------------------

# candidate PACKAGE [RELEASE]: the version that apt would install.
candidate() {
    apt-cache ${2:+-t "$2"} policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \(.*\)$/\1/p'
}

# apt_has PACKAGE: whether apt could install it; fetches the lists of packages where there are none.
apt_has() {
    known=$(candidate "$1")
    if [ -z "$known" ] && [ -z "$(candidate dpkg | sed 's/^(none)$//')" ]; then
        as_root apt-get update -q >&2
        known=$(candidate "$1")
    fi
    [ -n "$known" ] && [ "$known" != "(none)" ]
}

# major VERSION: 1:10.0.2+ds-2 -> 10
major() { printf %s "$1" | sed 's/^[0-9]*://; s/[^0-9].*//'; }

# qemu_packages: the arguments for apt-get install, with backports switched on where the release's own is too old.
qemu_packages() {
    version=$(candidate qemu-system-arm)
    if [ "$(major "${version:-0}")" -ge 9 ] 2>/dev/null; then
        echo qemu-system-arm
        return
    fi
    if [ "$family" = debian ] && [ -n "$codename" ]; then
        backports=$codename-backports
        version=$(candidate qemu-system-arm "$backports")
        if ! [ "$(major "${version:-0}")" -ge 9 ] 2>/dev/null; then
            say "adding $backports as /etc/apt/sources.list.d/graft-backports.list, for QEMU alone"
            mirror=$(debian_mirror)
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $backports main" |
                as_root tee /etc/apt/sources.list.d/graft-backports.list >/dev/null
            as_root apt-get update -q >&2
        fi
        # The parts of one build have to match, those already here included; nothing else comes from there.
        {
            printf '%s\n' qemu-system-arm qemu-system-common qemu-system-data
            dpkg-query -W -f '${db:Status-Status} ${source:Package} ${Package}\n' | sed -n 's/^installed qemu //p'
        } | sort -u | sed "s|\$|/$backports|"
        return
    fi
    # Old enough to lack raspi4b, new enough for virt: better than nothing, and checked again afterwards.
    echo qemu-system-arm
}

install_packages() {
    [ -n "$packages" ] || return 0
    say "installing:$packages"
    as_root apt-get update -q >&2 || return 1
    list=
    for package in $packages; do
        [ "$package" = qemu-system-arm ] && package=$(qemu_packages)
        list="$list $package"
    done
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-remove --no-install-recommends $list >&2
}

# debian_mirror: the mirror this machine takes its own release from.
debian_mirror() {
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n "s/^$codename main //p" | head -n 1)
    # Before its first update apt may not tell yet: then the first mirror that it is configured with.
    [ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        sed -n 's/^\(deb \|URIs: *\).*\(https\{0,1\}:\/\/[^ ]*\).*/\2/p' | head -n 1)
    echo "$mirror"
}

# --- files out of the distribution's arm64 kernel package ----------------------------------------------------------

# need_file FILE GIVEN: copies what the user has given; fails if nothing is there.
need_file() {
    if [ -n "$2" ]; then
        mkdir -p "$build"
        cmp -s "$2" "$1" || cp "$2" "$1" || exit 1
    fi
    [ -s "$1" ]
}

need_device_tree() { need_file "$device_tree" "${DTB:-}" || fetch_device_tree=yes; }
need_other_trees() { for tree in $other_trees; do [ -s "$build/$tree" ] || fetch_device_tree=yes; done; }
need_linux() { need_file "$linux" "${LINUX:-}" || fetch_linux=yes; }

debian_source() { echo "deb [target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $1 main"; }

fetch_device_tree() {
    missing=
    for tree in "${device_tree##*/}" $other_trees; do
        [ -s "$build/$tree" ] || missing="$missing $tree"
    done
    advice="device trees of Raspberry Pis in $build/, from the folder broadcom/ of any arm64 Linux kernel:$missing"
    case $missing in
    *" ${device_tree##*/}"*) advice="$advice (the Pi 4's is also on its boot partition: give it with DTB=FILE)" ;;
    esac
    case $installs:$family in
    yes:debian)
        source=$(debian_source "${codename:-stable}")
        meta=linux-image-arm64 image='linux-image-[0-9].*-arm64'
        ;;
    yes:ubuntu)
        source="deb [target=Packages signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://ports.ubuntu.com/ubuntu-ports $codename main"
        meta=linux-image-generic image='linux-image-[0-9].*-generic'
        ;;
    *)
        problem "$advice"
        return 0
        ;;
    esac
    say "fetching the Raspberry Pis' device trees out of the arm64 kernel package (about 60 MB, once)"
    set --
    for tree in $missing; do
        set -- "$@" "/broadcom/$tree\$" "$build/$tree"
    done
    unpack "$@" >&2 || problem "$advice (fetching them from the distribution failed)"
}

# The same release everywhere, so that figures can be compared.
fetch_linux() {
    advice="the Linux kernel of Debian 13 for arm64: give a kernel (boot/vmlinuz-… of the package that linux-image-arm64 depends on) with LINUX=FILE"
    if [ "$installs:$family" != yes:debian ]; then
        problem "$advice"
        return 0
    fi
    source=$(debian_source trixie)
    meta=linux-image-arm64 image='linux-image-[0-9].*-arm64'
    say "fetching Debian 13's Linux kernel for arm64 (about 100 MB, once)"
    unpack '^\./boot/vmlinuz-' "$linux" >&2 || problem "$advice (fetching it from Debian failed)"
}

# unpack MEMBER FILE...: gets files out of the package $image that $meta of $source depends on.
unpack() {
    mkdir -p "$build"
    private=$(mktemp -d "$(cd "$build" && pwd)/apt.XXXXXX")
    trap 'rm -rf "$private"' EXIT
    unpacked=yes
    download && extract "$@" || unpacked=
    unset APT_CONFIG
    rm -rf "$private"
    [ -n "$unpacked" ]
}

# apt looks in a state directory of ours, so that nothing in this machine's own apt changes.
download() {
    mkdir -p "$private/lists/partial" "$private/cache/archives/partial"
    echo "$source" >"$private/sources.list"
    cat >"$private/apt.conf" <<CONFIG
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::Etc::SourceList "$private/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$private/lists";
Dir::State::Status "/dev/null";
Dir::Cache "$private/cache";
CONFIG
    # The machine's own configuration (proxies and the like) is read first; this file has the last word.
    export APT_CONFIG="$private/apt.conf"
    apt-get update -q || return 1
    package=$(apt-cache depends "$meta" | sed -n "s/^ *Depends: \($image\)\$/\1/p" | head -n 1)
    case $family in ubuntu) package=linux-modules-${package#linux-image-} ;; esac
    (cd "$private" && apt-get download -q "$package")
}

# extract MEMBER FILE...
extract() {
    dpkg-deb --fsys-tarfile "$private"/*.deb >"$private/files.tar" || return 1
    tar -tf "$private/files.tar" >"$private/members"
    while [ $# -ge 2 ]; do
        member=$(grep "$1" "$private/members" | head -n 1)
        [ -n "$member" ] || return 1
        tar -xOf "$private/files.tar" "$member" >"$private/file" || return 1
        mv "$private/file" "$2"
        shift 2
    done
}

# --- doctor --------------------------------------------------------------------------------------------------------

# row NAME KNOWN FOUND WHY
row() { printf '  %-9s  %-30s  %-30s  %s\n' "$1" "$2" "${3:-missing}" "$4"; }

first_line() { "$@" 2>/dev/null | head -n 1; }

doctor() {
    row tool 'known to work' 'found here' 'used by'
    row system "Debian 12" "$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}" || uname -sr)" "set-up"
    row rustc "$toolchain" "$(first_line rustc --version | cut -d' ' -f2)" "everything"
    root=$(rustc --print sysroot 2>/dev/null) || root=
    row target "$target" "$([ -d "$root/lib/rustlib/$target/lib" ] && echo present)" "everything"
    row rustfmt "1.9" "$([ -x "$root/bin/cargo-fmt" ] && first_line cargo fmt --version | cut -d' ' -f2)" "make check, test"
    row clippy "0.1.95" "$([ -x "$root/bin/cargo-clippy" ] && first_line cargo clippy --version | cut -d' ' -f2)" "make check, test"
    row cc "gcc 12" "$(first_line cc --version | sed 's/.* //')" "linking host tools"
    row make "4.3" "$(first_line make --version | sed 's/[^0-9]*//')" "everything"
    row QEMU "10.0 (raspi4b: 9.0 on)" "$(qemu_version)" "make run, test, gdb"
    row fdtput "1.6" "$(first_line fdtput --version | sed 's/[^0-9]*//')" "make test"
    row mcopy "4.0" "$(first_line mcopy --version | sed 's/[^0-9]*//; s/,.*//')" "make test"
    row fsck.fat "4.2" "$(have fsck.fat && fsck.fat -V /dev/null 2>/dev/null | sed -n '1s/fsck.fat \([0-9.]*\).*/\1/p')" "make test"
    row z3 "4.8.12" "$(first_line z3 --version | sed 's/[^0-9]*//; s/ .*//')" "make prove, test"
    row spin "6.5.2" "$(first_line spin -V | sed 's/[^0-9]*//; s/ .*//')" "make model, test"
    row gdb "gdb-multiarch 13.1" "$(first_line gdb-multiarch --version | sed 's/.* //')" "make gdb"
    row 'Pi 4 tree' "Debian's, Linux 6.1" "$([ -s "$device_tree" ] && echo "$device_tree")" "BOARD=raspi4b, make test"
    row Linux "Debian 13's, 6.12" "$([ -s "$linux" ] && echo "$linux")" "make bench-linux"
}

# --- main ----------------------------------------------------------------------------------------------------------

check() {
    packages= problems= fetch_device_tree= fetch_linux= wanted_machine=
    for need in "$@"; do
        case $need in
        build | image) need_linker && need_rust ;;
        run) need_linker && need_rust && need_qemu virt ;;
        raspi4b) need_qemu raspi4b && need_device_tree ;;
        linux) need_linux ;;
        check) need_linker && need_rust fmt clippy ;;
        gdb)
            debugger=${GDB:-gdb-multiarch}
            need_command gdb "${debugger%% *}" gdb-multiarch "the debugger"
            ;;
        test)
            need_linker && need_rust fmt clippy && need_qemu raspi4b && need_device_tree
            need_other_trees
            need_command dtc fdtput device-tree-compiler "to make broken device trees"
            need_command mtools mcopy mtools "to read the SD-card image back"
            need_command dosfstools fsck.fat dosfstools "to check the SD-card image"
            need_command z3 z3 z3 "to prove the laws of the descriptors"
            need_command spin spin spin "to search the model of messages"
            ;;
        prove) need_command z3 z3 z3 "to prove the laws of the descriptors" ;;
        model) need_command spin spin spin "to search the model of messages" ;;
        *) say "no such need: $need" && exit 2 ;;
        esac
    done
}

if [ "${1:-}" = doctor ]; then
    doctor
    exit 0
fi

check "$@"
if [ -n "$packages" ]; then
    install_packages || say "apt did not install everything"
    # What apt has not brought is a problem now, not a package to ask for again.
    asked=$wanted_machine
    installs_before=$installs installs=no
    check "$@"
    installs=$installs_before
    if [ "$family:$asked" = ubuntu:raspi4b ] && ! "$qemu" -M help 2>/dev/null | grep -q '^raspi4b '; then
        problem "Ubuntu $codename's own QEMU is older than 9.0: 'sudo add-apt-repository cloud-archive:epoxy' has a newer one for 24.04"
    fi
fi
[ -z "$fetch_device_tree" ] || fetch_device_tree
[ -z "$fetch_linux" ] || fetch_linux
if [ -n "$problems" ]; then
    printf 'setup: missing on this machine:\n%s' "$problems" >&2
    exit 1
fi
