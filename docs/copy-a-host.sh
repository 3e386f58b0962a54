#!/bin/sh
# Writes what ivrs-trace needs to know of this host to standard output, as a tar archive:
#
#     sudo sh copy-a-host.sh > host.tar
#
# It changes nothing. It needs sh, cp, mkdir, mktemp, readlink, rm and tar, those of busybox too.
# Another root than / may be named.

if [ -t 1 ]; then
    echo "usage: sudo sh $0 > host.tar" >&2
    exit 2
fi
copy=$(mktemp -d) || exit
trap 'rm -rf "$copy"' EXIT
trap 'exit 1' HUP INT TERM
umask 022
cd "${1:-/}" || exit
root=$(pwd -P)
root=${root%/}

# take DIR NAME...: copies files and links. tar alone would trust the sizes that sysfs and procfs
# give, which are wrong; cp reads to the end.
take() {
    dir=$1
    shift
    [ -d "$dir" ] || return 0
    mkdir -p "$copy/$dir"
    for name; do
        shift
        if [ -f "$dir/$name" ] || [ -L "$dir/$name" ]; then set -- "$@" "$dir/$name"; fi
    done
    [ $# -eq 0 ] || cp -P "$@" "$copy/$dir/"
}

# links DIR: copies every link in a directory.
links() {
    set -- "$1" "$1"/*
    dir=$1
    shift
    [ -d "$dir" ] || return 0
    mkdir -p "$copy/$dir"
    for link; do
        shift
        if [ -L "$link" ]; then set -- "$@" "$link"; fi
    done
    [ $# -eq 0 ] || cp -P "$@" "$copy/$dir/"
}

# real PATH: where a link leads, from the root.
real() {
    path=$(readlink -f "$1")
    echo "${path#"$root"/}"
}

take proc cmdline iomem
take proc/sys/kernel osrelease
take sys/kernel/btf vmlinux
take sys/kernel/security lockdown
take sys/firmware/acpi/tables IVRS
take sys/class/dmi/id sys_vendor product_name board_vendor board_name bios_version bios_date
for entry in sys/firmware/memmap/*; do
    take "$entry" start end type
done
take sys/kernel/iommu_groups
for group in sys/kernel/iommu_groups/*; do
    take "$group" type reserved_regions
    links "$group/devices"
done
links sys/class/iommu
links sys/bus/pci/devices
for function in sys/bus/pci/devices/*; do
    [ -e "$function" ] || continue
    function=$(real "$function")
    take "$function" vendor device class subsystem_vendor subsystem_device revision uevent \
        driver iommu_group iommu physfn
    for bus in "$function"/pci_bus/*; do
        if [ -d "$bus" ]; then mkdir -p "$copy/$bus"; fi
    done
done
links sys/bus/acpi/devices
for device in sys/bus/acpi/devices/*; do
    [ -e "$device/hid" ] && take "$(real "$device")" hid uid path physical_node
done
tar -C "$copy" -cf - .
