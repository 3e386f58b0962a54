#!/bin/sh
# The first process of the lab's guest. It makes the guest look like a small Linux host, runs
# /lab/command and says on the control port (ttyS3) what came of it:
#
#   wrong-firmware     the IVRS or DMAR in effect is not the one that the lab put in; nothing was run
#   not-started        the guest's services did not start (the kernel log says why); nothing was run
#   ready              the command on the terminal starts
#   exit N             the command ended with status N, and all its output has been sent
#
# The host ends the machine when it reads the first or the last. The kernel log goes to ttyS0, the
# command's stdout and stderr to ttyS1 and ttyS2; one that is to have a terminal has ttyS1.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-linux}"

mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
hostname lab
cd /root || exit 1

# Raw ports: no byte is changed on its way to the host.
for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo; done

# Hands the result to the host, which ends the machine.
finish() {
    # stty waits until a port has sent everything.
    stty -F /dev/ttyS1 raw
    stty -F /dev/ttyS2 raw
    echo "$1" > /dev/ttyS3
    stty -F /dev/ttyS3 raw
    poweroff -f
}

# The host drivers of the machine's devices. The VFIO modules are left to whoever takes a device.
[ ! -s /lab/drivers ] || modprobe -a $(cat /lab/drivers)

wrong=
for name in IVRS DMAR; do
    if [ -f /lab/$name ] && ! cmp -s /lab/$name /sys/firmware/acpi/tables/$name; then wrong=yes; fi
done
if [ "$wrong" ]; then
    finish wrong-firmware
fi

# On the kernel's log: the ports are the command's.
if [ -x /lab/start ] && ! /lab/start > /dev/ttyS0 2>&1; then
    finish not-started
fi

if [ -f /lab/terminal ]; then
    stty -F /dev/ttyS1 sane
    echo ready > /dev/ttyS3
    # -c: this port, not the console, becomes the terminal that Ctrl-C acts on.
    # The size is set by a process that has the port open: it is forgotten with the last close.
    setsid -c sh -c 'stty $(cat /lab/terminal); exec sh /lab/command' < /dev/ttyS1 > /dev/ttyS1 2>&1
    finish "exit $?"
fi

# The command writes into pipes: on a serial port it would take itself to be on a terminal.
mkfifo /lab/stdout /lab/stderr
cat /lab/stdout > /dev/ttyS1 &
cats=$!
cat /lab/stderr > /dev/ttyS2 &
cats="$cats $!"
echo 'lab: the command starts' > /dev/kmsg
sh /lab/command < /dev/null > /lab/stdout 2> /lab/stderr
status=$?
echo "lab: the command ended with $status" > /dev/kmsg
# A process that the command left behind may hold the pipes open for ever.
(sleep 5; kill $cats) 2> /dev/null &
wait $cats
finish "exit $status"
