//! Virtual machines that are started as their users start them: by libvirt, and by QEMU itself; and
//! the hook that has libvirt's starts recorded.

use serde_json::Value;
use xtask::vm::{Guest, Userland};

use crate::transcript::{Transcript, items};

/// One guest for everything: it takes ten seconds until libvirt is ready.
const STARTS: &str = r#"
section "modules before"; grep -c vfio /proc/modules
# In one stream, so that their order shows.
try covered sh -c 'ivrs-trace run -- virsh start covered 2>&1'
section "driver after"; basename $(readlink /sys/bus/pci/devices/0000:00:03.0/driver)
try free sh -c 'ivrs-trace run -- virsh start free 2>&1'
virsh --quiet destroy free
try both ivrs-trace run --json -- sh -c '
    virsh start covered > /tmp/covered 2>&1 &
    virsh start free > /tmp/free 2>&1
    wait'
virsh --quiet destroy free

cd /sys/bus/pci/devices/0000:00:03.0
echo vfio-pci > driver_override
echo 0000:00:03.0 > driver/unbind
echo 0000:00:03.0 > /sys/bus/pci/drivers_probe
cd /
try qemu sh -c 'ivrs-trace run -- qemu-system-x86_64 -nodefaults -display none -device vfio-pci,host=00:03.0 2>&1'
cd /sys/bus/pci/devices/0000:00:03.0
echo > driver_override
echo 0000:00:03.0 > driver/unbind
echo 0000:00:03.0 > /sys/bus/pci/drivers_probe
cd /
"#;

/// What systemd does with the unit, as far as the hook asks for it: the service has the capabilities
/// that the unit leaves it, what it says is the journal, and it counts as ready when its file is
/// there.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> /tmp/systemctl
[ "$1" = --no-block ] && shift
name=${2#ivrs-trace@}
name=${name%.service}
case $1 in
start)
    mkdir -p /var/lib/ivrs-trace
    caps=$(sed -n 's/^CapabilityBoundingSet=//p' /tmp/unit | sed 's/CAP_//g; s/ /,/g')
    command=$(sed -n 's/^ExecStart=://p' /tmp/unit | sed "s/%[iI]/$name/g")
    setsid with-caps 0 "$caps" $command < /dev/null > /dev/null 2>> /tmp/journal &
    echo $! > "/tmp/pid.$name"
    until [ -e "/var/lib/ivrs-trace/$name.ivt.part" ]; do
        kill -0 $! || exit 1
        sleep 0.1
    done
    ;;
stop)
    kill "$(cat "/tmp/pid.$name")" && rm "/tmp/pid.$name"
    ;;
esac
"#;

/// What follows the files of the hook in the guest.
const HOOKED: &str = r#"
hook=/etc/libvirt/hooks/qemu.d/ivrs-trace
chmod 755 /usr/bin/systemctl /usr/bin/systemd-escape $hook
# libvirtd looks for hooks when it starts.
kill $(pidof libvirtd)
while pidof libvirtd > /dev/null; do sleep 0.1; done
libvirtd --daemon
# The service ends a moment after the hook has asked for it.
left() {
    for wait in 1 2 3 4 5 6 7 8 9 10; do
        pidof ivrs-trace > /dev/null || break
        sleep 1
    done
    pidof ivrs-trace
    ls /var/lib/ivrs-trace
    cat /tmp/journal
    : > /tmp/journal
}

try "hooked free" virsh start free
virsh --quiet destroy free
section "hooked free left"; left
try "hooked covered" virsh start covered
section "hooked covered left"; left
try recording ivrs-trace run --json --from /var/lib/ivrs-trace/covered.ivt
section systemctl; cat /tmp/systemctl

mv /usr/bin/ivrs-trace /usr/bin/ivrs-trace.away
try "no tool" virsh start free
virsh --quiet destroy free
section "no tool left"; left

# By itself: what libvirt would wait for, and take for a failure.
virsh dumpxml free > /tmp/free.xml
printf '#!/bin/sh\nexec sleep 60\n' > /usr/bin/ivrs-trace
chmod 755 /usr/bin/ivrs-trace
sed -i s/^WAIT=.*/WAIT=1/ $hook
try "hanging tool" timeout 20 $hook free prepare begin - < /tmp/free.xml
: > /tmp/systemctl
grep -v hostdev /tmp/free.xml > /tmp/other.xml
try "no device" $hook other prepare begin - < /tmp/other.xml
section "no device systemctl"; cat /tmp/systemctl
rm /usr/bin/systemctl /usr/bin/systemd-escape
try "no systemd" $hook free prepare begin - < /tmp/free.xml
"#;

/// The files of the hook, as they are packaged.
fn hooked() -> String {
    let files = [
        (
            "/etc/libvirt/hooks/qemu.d/ivrs-trace",
            include_str!("../../../ivrs-trace/packaging/libvirt/ivrs-trace"),
        ),
        ("/tmp/unit", include_str!("../../../ivrs-trace/packaging/systemd/ivrs-trace@.service")),
        ("/usr/bin/systemctl", SYSTEMCTL),
        ("/usr/bin/systemd-escape", "#!/bin/sh\nprintf %s \"$2\"\n"),
    ];
    let write = |(path, content)| format!("cat > {path} <<'END OF FILE'\n{content}END OF FILE\n");
    let files: String = files.map(write).concat();
    format!("mkdir -p /etc/libvirt/hooks/qemu.d\n{files}{HOOKED}")
}

/// What QEMU prints where the kernel refuses 00:03.0.
const QEMU_PRINTS: &str = "vfio 0000:00:03.0: failed to setup container for group 1: Failed to set \
                           group container: Invalid argument";

/// Whether `text` has these parts in this order.
#[track_caller]
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is not there, or too early, in: {text}"));
        rest = rest.split_at(at + part.len()).1;
    }
}

/// The one attempt of `told` by a virtual machine of this name.
#[track_caller]
fn attempt_of<'a>(told: &'a Value, vm: &str) -> &'a Value {
    let mut of_vm =
        items(&told["attempts"]).iter().filter(|attempt| attempt["process"]["vm"] == vm);
    match (of_vm.next(), of_vm.next()) {
        (Some(attempt), None) => attempt,
        _ => panic!("not one attempt of {vm}: {told}"),
    }
}

#[track_caller]
fn assert_refused(attempt: &Value) {
    assert_eq!(attempt["outcome"], "rejected", "{attempt}");
    assert_eq!(attempt["requested"], "0000:00:03.0", "{attempt}");
    assert_eq!(attempt["errno"], "EINVAL", "{attempt}");
    let [rejection] = items(&attempt["rejections"]) else { panic!("not one: {attempt}") };
    assert_eq!(rejection["bdf"], "0000:00:03.0", "{attempt}");
    let causes: Vec<&Value> =
        items(&rejection["causes"]).iter().map(|cause| &cause["ivmd"]).collect();
    assert_eq!(causes, [0, 1, 2], "{attempt}");
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn starts_by_libvirt_and_qemu_are_explained_and_the_hook_records_the_failed_ones() {
    let guest = Guest {
        userland: Userland::Libvirt,
        firmware: "am5-desktop".parse().unwrap(),
        ..Guest::default()
    };
    let transcript = Transcript::of(guest, &format!("{STARTS}{}", hooked()));

    assert_eq!(transcript.section("modules before").trim(), "0");
    let covered = transcript.tried("covered");
    assert_eq!(covered.status, 1, "{}", covered.stdout);
    assert_in_order(
        covered.stdout,
        &[
            "error: Failed to start domain 'covered'",
            QEMU_PRINTS,
            "BLOCKED by firmware: 0000:00:03.0",
            "Virtual machine: covered",
            QEMU_PRINTS,
            "Cause: IVMD 0 of the IVRS, at offset 0xb8",
            "Will not help",
        ],
    );
    assert_eq!(transcript.section("driver after").trim(), "e1000e", "libvirt gives it back");
    let free = transcript.tried("free");
    assert_eq!(free.status, 0, "{}", free.stdout);
    assert_in_order(
        free.stdout,
        &["Domain 'free' started", "CLEAR: ", "0000:21:00.0", "Virtual machine: free"],
    );
    assert!(!free.stdout.contains("BLOCKED"), "{}", free.stdout);

    let both = transcript.tried("both").json();
    assert_eq!(items(&both["attempts"]).len(), 2, "{both}");
    assert_refused(attempt_of(&both, "covered"));
    let free = attempt_of(&both, "free");
    assert_eq!((&free["outcome"], &free["errno"]), (&"attached".into(), &Value::Null), "{free}");
    assert_eq!(free["requested"], "0000:21:00.0", "{free}");

    let qemu = transcript.tried("qemu");
    assert_eq!(qemu.status, 1, "{}", qemu.stdout);
    assert_in_order(
        qemu.stdout,
        &[
            QEMU_PRINTS,
            "BLOCKED by firmware: 0000:00:03.0",
            QEMU_PRINTS,
            "Cause: IVMD 0 of the IVRS, at offset 0xb8",
        ],
    );
    assert_the_hook_records_failed_starts_alone(&transcript);
}

/// The part of the hook, in the same guest.
#[track_caller]
fn assert_the_hook_records_failed_starts_alone(transcript: &Transcript) {
    let free = transcript.tried("hooked free");
    assert_eq!(free.status, 0, "{}", free.stderr);
    assert_eq!(transcript.section("hooked free left"), "", "a good start leaves nothing");

    let covered = transcript.tried("hooked covered");
    assert_eq!(covered.status, 1);
    assert!(covered.stderr.contains(QEMU_PRINTS), "{}", covered.stderr);
    let left: Vec<&str> = transcript.section("hooked covered left").trim().lines().collect();
    let [file, line] = left.as_slice() else { panic!("not a file and a line: {left:?}") };
    assert_eq!(*file, "covered.ivt");
    assert_in_order(
        line,
        &[
            "ivrs-trace: covered: BLOCKED by firmware: 0000:00:03.0.",
            "EINVAL",
            "IVMD 0, 1 and 2 of the IVRS",
            "Recorded in /var/lib/ivrs-trace/covered.ivt: ",
        ],
    );
    assert_refused(attempt_of(&transcript.tried("recording").json(), "covered"));
    let asked = "start ivrs-trace@free.service\n\
                 --no-block stop ivrs-trace@free.service\n\
                 --no-block stop ivrs-trace@free.service\n\
                 start ivrs-trace@covered.service\n\
                 --no-block stop ivrs-trace@covered.service\n";
    assert_eq!(transcript.section("systemctl").trim_start(), asked);

    let no_tool = transcript.tried("no tool");
    assert_eq!(no_tool.status, 0, "{}", no_tool.stderr);
    assert!(transcript.section("no tool left").starts_with("covered.ivt\n"));
    for case in ["hanging tool", "no device", "no systemd"] {
        let hook = transcript.tried(case);
        assert_eq!((hook.status, hook.stdout, hook.stderr), (0, "", ""), "{case}");
    }
    assert_eq!(transcript.section("no device systemctl").trim(), "");
}
