#!/bin/sh
# Becomes systemd as process 1 over a root of its own: boot.sh ROOT UNITS LOG DIRECTORY...
#
# For namespaces made for it (mount, pid, ipc, uts, cgroup). /usr is there for reading, the DIRECTORIES at
# their own paths; everything else is memory and empty, so that nothing that a boot cleans up or sets
# (systemd-tmpfiles empties /tmp) is the host's. The network is the host's.
set -eu
root=$1 units=$2 log=$3
shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc/systemd/system proc sys dev run tmp var/log var/lib var/tmp root old
mount --bind /usr usr
mount -o remount,bind,ro usr
for link in bin sbin lib lib64; do
    if [ -L "/$link" ]; then cp -a "/$link" .; fi
done
for file in passwd group nsswitch.conf ld.so.cache; do
    if [ -e "/etc/$file" ]; then cp "/etc/$file" etc/; fi
done
echo 0123456789abcdef0123456789abcdef > etc/machine-id

# Units get their usual dependencies; behind these is nothing of a machine.
for target in sysinit basic shutdown booted; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" \
        > "etc/systemd/system/$target.target"
done
for unit in systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-tmpfiles-clean systemd-sysctl \
    systemd-journald systemd-udevd systemd-update-utmp; do
    ln -s /dev/null "etc/systemd/system/$unit.service"
done
for unit in systemd-journald.socket systemd-journald-dev-log.socket systemd-tmpfiles-clean.timer; do
    ln -s /dev/null "etc/systemd/system/$unit"
done
cp "$units"/* etc/systemd/system/

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
# It opens its console only if that is a terminal; the kernel's log it opens as it is.
: > dev/kmsg
mount --bind "$log" dev/kmsg
mkdir -p dev/shm dev/pts
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
for directory in "$@"; do
    mkdir -p ".$directory"
    mount --bind "$directory" ".$directory"
done
pivot_root . old
umount -l /old
exec env -i container=test PATH=/usr/sbin:/usr/bin TERM=dumb \
    /lib/systemd/systemd --system --unit=booted.target --log-target=kmsg --log-level=info \
    --show-status=no
