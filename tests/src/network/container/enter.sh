#!/bin/sh
# Becomes the first process of a container: enter.sh DIRECTORY BOOT_ID KEPT... -- PROGRAM ARGUMENT...
#
# For mount and pid namespaces made for it. DIRECTORY/tmp is its /tmp and DIRECTORY/run its /run.
# DIRECTORY and the KEPT are seen where they are, even below those.
set -eu
directory=$1 boot_id=$2
shift 2

cover() {
    covered=$1
    shift
    mount --rbind "$covered" /mnt
    mount --bind "$directory$covered" "$covered"
    for kept in "$directory" "$@"; do
        case $kept in
            --) break ;;
            "$covered"/*) mkdir -p "$kept" && mount --rbind "/mnt${kept#"$covered"}" "$kept" ;;
        esac
    done
    umount --lazy /mnt
}

# As every container has; faketime names things in it by pid, and here all are the first.
mount -t tmpfs tmpfs /dev/shm
cover /run "$@"
cover /tmp "$@"
# All "devices" of a test run on one kernel; this file is how they are told apart.
if [ -n "$boot_id" ]; then
    echo "$boot_id" > "$directory/boot_id"
    mount --bind "$directory/boot_id" /proc/sys/kernel/random/boot_id
fi
while [ "$1" != -- ]; do
    shift
done
shift
exec "$@"
