#!/bin/sh
# Runs the tests of polybolos-kernels with AVX-512 on a machine without it: in Bochs, an emulator of a whole PC, with a
# Linux kernel of Debian. Fails unless the product's own detection finds AVX-512 there and every test passes.
#
# avx512.sh [WORD ...]   only the tests whose name holds one of the words; default: all but those of the CUDA back end
#
# Random tests have 8 cases, PROPTEST_CASES sets another number; elsewhere they have dozens and some have thousands.
# After the build it takes a minute to start the machine (a word like `simd::` needs little more) and a quarter of an
# hour for all tests.
#
# Needs Debian on x86-64, its packages from the network and root to install those below that are missing. The kernel is
# fetched and not installed. Variables:
#   BOCHS    another Bochs, three times as fast as Debian's with its debugger: built with --enable-x86-64
#            --enable-avx --enable-evex --enable-all-optimizations --with-nogui
#   KERNEL   a kernel image (vmlinuz) instead of Debian's
#   CPU      the emulated processor, one of `bochs --help cpu`; default corei7_skylake_x
#   LIMIT    seconds until the machine is switched off; default 7200
#   PROFILE  release tests the optimised program
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bochs=${BOCHS:-bochs}
words=${*:-}
case $words in *[!a-z0-9_:\ ]*) echo "not a part of a test's name: $words" >&2; exit 2 ;; esac

packages="bochsbios vgabios xorriso isolinux syslinux-common busybox-static cpio"
if [ -z "${BOCHS:-}" ]; then packages="$packages bochs bochs-sdl"; fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root=sudo; fi
# shellcheck disable=SC2016
format='${Package} ${db:Status-Status}\n'
# shellcheck disable=SC2086
if dpkg-query --show --showformat "$format" $packages 2>&1 | grep -q -v ' installed$'; then
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root apt-get install -qq -y --no-install-recommends $packages >&2
fi

work=$(mktemp -d)
pid=
trap 'if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; wait; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The tests at the places where they were built, with the files that they read, their libraries and a shell.
release=
if [ "${PROFILE:-}" = release ]; then release=--release; fi
# shellcheck disable=SC2086
cargo test --manifest-path "$root/Cargo.toml" -p polybolos-kernels $release --lib --test it --bench indicators \
    --no-run --message-format=json >"$work/built.json"
image=$work/image
mkdir -p "$image/bin" "$image/proc" "$image/dev" "$image/tmp" "$image/t" "$image$root/kernels" "$work/iso"
cp -R "$root/kernels/src" "$root/kernels/tests" "$root/kernels/testdata" "$image$root/kernels"
sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/built.json" >"$work/built"
while read -r file; do
    name=$(basename "$file")
    strip -o "$image/t/${name%-*}" "$file"
    for library in $(ldd "$file" | grep -o '/[^ ]*'); do
        mkdir -p "$image$(dirname "$library")"
        cp -L "$library" "$image$library"
    done
done <"$work/built"
cp "$(command -v busybox)" "$image/bin/busybox"
cat >"$image/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin RUST_TEST_THREADS=1 PROPTEST_CASES=${PROPTEST_CASES:-8}
mount -t proc proc /proc
mount -t devtmpfs dev /dev
cd $root/kernels
grep -m 1 '^model name' /proc/cpuinfo
echo "flags: \$(grep -m 1 '^flags' /proc/cpuinfo | grep -o 'avx[^ ]*' | tr '\n' ' ')"
status=1
# The bench says what the product detects, and then measures no indicator of this name.
/t/indicators none | grep '^instructions: ' >/tmp/detected
cat /tmp/detected
if grep -q -x 'instructions: avx512' /tmp/detected; then
    status=0
    for tests in polybolos_kernels it; do
        /t/\$tests $words --skip cuda || status=1
    done
fi
echo "exit status: \$status"
# What is still on its way over the serial line.
sleep 3
poweroff -f
INIT
chmod +x "$image/init"
(cd "$image" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/iso/initrd"

if [ -n "${KERNEL:-}" ]; then
    cp "$KERNEL" "$work/iso/vmlinuz"
else
    fetch_kernel() {
        package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
        (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package")
    }
    fetch_kernel || { $as_root apt-get update -qq; fetch_kernel; }
    dpkg-deb --fsys-tarfile "$work/$package"_*.deb | tar -x -C "$work" --wildcards './boot/vmlinuz-*'
    mv "$work"/boot/vmlinuz-* "$work/iso/vmlinuz"
fi
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso"
# Bochs 2.7 tells a wrong size of the state that XSAVEC saves, for which Linux would use no AVX at all.
cat >"$work/iso/isolinux.cfg" <<'CONFIG'
DEFAULT linux
LABEL linux
    KERNEL vmlinuz
    INITRD initrd
    APPEND console=ttyS0 quiet mitigations=off nokaslr clearcpuid=xsaves,xsavec
CONFIG
xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$work/iso" 2>/dev/null

cat >"$work/bochsrc" <<CONFIG
config_interface: textconfig
display_library: $(if [ -z "${BOCHS:-}" ]; then echo sdl2; else echo nogui; fi)
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
cpu: model=${CPU:-corei7_skylake_x}, count=1, ips=100000000
memory: guest=1024, host=1024
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
CONFIG
# Debian's breaks off where it finds no sound card.
if [ -z "${BOCHS:-}" ]; then printf 'speaker: enabled=0\nsound: driver=dummy\n' >>"$work/bochsrc"; fi
set -- -q -f "$work/bochsrc"
if "$bochs" --help 2>&1 | grep -q -- '-rc filename'; then
    # One with a debugger waits for a command.
    echo c >"$work/commands"
    set -- "$@" -rc "$work/commands"
fi
: >"$work/serial"
SDL_VIDEODRIVER=dummy "$bochs" "$@" </dev/null >"$work/output" 2>&1 &
pid=$!
tail -n +1 -f --pid="$pid" "$work/serial" | sed -u 's/\r$//' &
second=0
while kill -0 "$pid" 2>/dev/null; do
    if [ "$second" -ge "${LIMIT:-7200}" ] || grep -q 'Kernel panic' "$work/serial"; then
        kill -KILL "$pid" || true
    fi
    second=$((second + 1))
    sleep 1
done
wait || true
pid=

said() { tr -d '\r' <"$work/serial" | grep -q -e "$1"; }
if ! said '^exit status: '; then
    cat "$work/output" "$work/log" >&2 || true
    echo "failed: the emulated machine did not come to the end of the tests" >&2
    exit 1
fi
if ! said '^instructions: avx512$'; then
    echo "failed: the emulated machine has no AVX-512, or not all that is needed of it" >&2
    exit 1
fi
if ! said '^exit status: 0$' || ! said '^test result: ok\. [1-9]'; then
    echo "failed: a test failed with AVX-512, or none has such a name" >&2
    exit 1
fi
echo "passed with AVX-512"
