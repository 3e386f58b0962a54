#!/bin/sh
# Writes the files of this host that ivrs-trace reads to standard output, as a tar archive:
#
#     sudo sh copy-a-host.sh > host.tar
#
# It changes nothing. It needs sh, cp, dmesg, grep, mkdir, mktemp, readlink, rm and tar; those of
# busybox suffice. An optional argument names another root than /.

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
# report, which are wrong; cp reads to the end.
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

# real PATH: prints the target of a link, relative to the root.
real() {
    path=$(readlink -f "$1")
    echo "${path#"$root"/}"
}

# keep FILE PATTERN: copies the lines of a file that match.
keep() {
    [ -r "$1" ] || return 0
    mkdir -p "$copy/${1%/*}"
    grep -E -e "$2" "$1" > "$copy/$1"
}

# Lines of the kernel's log that are kept, a pattern a line; and those of them that are not.
kept='Linux version 
ACPI table found in initrd
Table Upgrade: 
ACPI OVERRIDE: 
ignoring table override
table override, new table
nterrupt remapping
IRQ remapping
irq remapping
has no mapping iommu
chipset that contains an erratum
IOAPIC
x2apic
AMD-Vi: 
DMAR
dmar: 
IOMMU disabled
ivrs_
Firmware has requested this device
platform RMRR requirement
vfio
can.t reserve
MSI interrupts are not secure
Kernel is locked down'
dropped='ommand line: 
Event logged
.DMA 
DEV_SELECT
DEV_ALIAS
DEV_RANGE_END
DEV_EXT
relaying device request'

take proc cmdline iomem swaps
take proc/self mountinfo
keep proc/cpuinfo '^vendor_id'
keep proc/interrupts 'IR-'
# Which interfaces have routes, without the destinations.
for file in route ipv6_route; do
    [ -r "proc/net/$file" ] || continue
    mkdir -p "$copy/proc/net"
    while read -r one two three four five six seven eight nine rest; do
        case $file$one$two$nine in
            routeIface*) echo 'Iface Destination' ;;
            route*)
                bits=1
                [ "$two$eight" = 0000000000000000 ] && bits=0
                echo "$one $bits 0 0 0 0 0 $bits" ;;
            ipv6_routefe8* | ipv6_routeff*) ;;
            *)
                bits=1
                [ "$one$two" = 0000000000000000000000000000000000 ] && bits=0
                echo "$bits $bits ${rest:-$nine}" ;;
        esac
    done < "proc/net/$file" > "$copy/proc/net/$file"
done
take proc/sys/kernel osrelease tainted ftrace_enabled modules_disabled
if [ -z "$root" ]; then
    mkdir -p "$copy/dev"
    dmesg 2> /dev/null | grep -e "$kept" | grep -v -e "$dropped" > "$copy/dev/kmsg"
    [ -s "$copy/dev/kmsg" ] || rm "$copy/dev/kmsg"
fi
for file in lib/modules/$(cat proc/sys/kernel/osrelease)/modules.dep \
    lib/modules/$(cat proc/sys/kernel/osrelease)/modules.builtin; do
    keep "$file" vfio
done
for file in etc/modprobe.d/*.conf run/modprobe.d/*.conf usr/lib/modprobe.d/*.conf; do
    keep "$file" vfio
done
take sys/kernel/btf vmlinux
take sys/kernel/security lockdown
take sys/firmware/acpi/tables IVRS DMAR
for table in sys/firmware/acpi/tables/*; do
    # Only the names of the other tables.
    case $table in *IVRS* | *DMAR*) continue ;; esac
    if [ -f "$table" ]; then : > "$copy/$table"; fi
done
take sys/firmware/devicetree/base model
take sys/module/vfio_iommu_type1/parameters allow_unsafe_interrupts
for folder in sys/bus/pci/drivers/vfio-pci; do
    if [ -d "$folder" ]; then mkdir -p "$copy/$folder"; fi
done
for class in block net graphics nvme; do links "sys/class/$class"; done
for subsystem in sys/class/nvme-subsystem/*; do links "$subsystem"; done
for block in sys/class/block/*; do
    [ -e "$block" ] || continue
    block=$(real "$block")
    take "$block" dev
    take "$block/dm" name
    for slave in "$block"/slaves/*; do
        if [ -e "$slave" ]; then mkdir -p "$copy/$slave"; fi
    done
done
for interface in sys/class/net/*; do
    [ -e "$interface" ] || continue
    interface=$(real "$interface")
    for lower in "$interface"/lower_*; do
        if [ -e "$lower" ]; then mkdir -p "$copy/$lower"; fi
    done
done
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
        driver driver_override iommu_group iommu physfn boot_vga
    for bus in "$function"/pci_bus/*; do
        if [ -d "$bus" ]; then mkdir -p "$copy/$bus"; fi
    done
done
links sys/bus/acpi/devices
for device in sys/bus/acpi/devices/*; do
    [ -e "$device/hid" ] && take "$(real "$device")" hid uid path physical_node
done
tar -C "$copy" -cf - .
