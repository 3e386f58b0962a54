//! What the tool says and does where something is missing, when it is stopped, and when two
//! processes attach at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask::vm::{Guest, Iommu};

use crate::transcript::{Transcript, items};

/// Everything that one guest can show, one thing after the other.
const MISSING: &str = r#"
try "user run" su user -c 'ivrs-trace run -- touch /tmp/ran'
try "user check" su user -c 'ivrs-trace check --json'
section "user ran"; ls /tmp | grep ran

touch /tmp/empty
mount --bind /tmp/empty /sys/kernel/btf/vmlinux
try "no BTF run" ivrs-trace run -- touch /tmp/ran
try "no BTF check" ivrs-trace check --json
section "no BTF ran"; ls /tmp | grep ran
umount /sys/kernel/btf/vmlinux

mkdir /tmp/nothing
mount --bind /tmp/nothing /sys/firmware/acpi/tables
try "no IVRS check" ivrs-trace check --json
try "no IVRS run" ivrs-trace run --json -- sh -c 'vfio-attach 00:03.0 > /tmp/attach 2>&1'
umount /sys/firmware/acpi/tables
"#;

const ANOTHER_IOMMU: &str = "
try check ivrs-trace check --json
try run ivrs-trace run --json -- sh -c 'vfio-attach 00:03.0 > /tmp/attach 2>&1'
";

/// Whether anything of ours is left in the kernel. `timeout` runs the tool itself and sends the
/// signal from a second process; a shell's background job would ignore SIGINT.
const SIGNALS: &str = r#"
left() {
    grep -E ' bpf_prog_.*\[bpf\]$' /proc/kallsyms
    cat /sys/kernel/tracing/enabled_functions /sys/kernel/debug/kprobes/list
}
# Programs are freed a moment after the last use of them.
gone() {
    for wait in 1 2 3 4 5 6; do
        [ -z "$(left)" ] && break
        sleep 1
    done
    left
}
section "left before"; left
for signal in INT TERM; do
    (sleep 4; left > /tmp/during) &
    try "events $signal" timeout -s $signal 10 ivrs-trace events
    wait
    section "events $signal during"; cat /tmp/during
    section "events $signal left"; gone
    try "run $signal" timeout -s $signal 8 ivrs-trace run --json -- sleep 60
    section "run $signal left"; gone
    section "run $signal command"; pidof sleep
done
"#;

/// The modules are loaded first, so that the attaches really meet.
const TOGETHER: &str = r"
modprobe -a vfio_iommu_type1 vfio-pci
try together ivrs-trace run --json -- sh -c '
    for bdf in 00:03.0 00:04.0 21:00.0 22:00.0; do
        vfio-attach $bdf > /tmp/attach.$bdf 2>&1 &
    done
    wait'
";

/// A user who is root by sudo; and another process than the one that takes a device gives it to
/// vfio-pci.
const CALLER: &str = r#"
export SUDO_UID=1000 SUDO_GID=1000 SUDO_USER=user
who='id -u; id -g; echo $HOME ${USER-none} ${LOGNAME-none} ${SUDO_UID-none}'
try user ivrs-trace run --linger 0 -- sh -c "$who"
try root ivrs-trace run --linger 0 --as-root -- sh -c "$who"
try refused ivrs-trace run --linger 0 -- false
try killed ivrs-trace run --linger 0 -- sh -c 'kill -9 $$'
try missing ivrs-trace run -- /nowhere
try json ivrs-trace run --linger 0 --json -- echo words
unset SUDO_UID SUDO_GID SUDO_USER
try rebound ivrs-trace run --json -- sh -c '
    device=/sys/bus/pci/devices/0000:00:03.0
    modprobe -a vfio_iommu_type1 vfio-pci
    echo vfio-pci > $device/driver_override
    echo 0000:00:03.0 > $device/driver/unbind
    echo 0000:00:03.0 > /sys/bus/pci/drivers_probe
    vfio-attach 00:03.0 > /dev/null 2>&1
    exit $?'
"#;

fn am5_desktop() -> Guest {
    Guest { firmware: "am5-desktop".parse().unwrap(), ..Guest::default() }
}

/// The verdict on one device in the output of `check --json`.
#[track_caller]
fn device<'a>(check: &'a Value, bdf: &str) -> &'a Value {
    let found = items(&check["devices"]).iter().find(|device| device["bdf"] == bdf);
    found.unwrap_or_else(|| panic!("{bdf} is not in {check}"))
}

/// The codes of the findings in the output of `check --json`.
#[track_caller]
fn findings(check: &Value) -> Vec<&str> {
    items(&check["findings"]).iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn each_missing_thing_is_one_clear_line_and_what_can_be_said_is_said() {
    let transcript = Transcript::of(am5_desktop(), MISSING);

    for (who, why) in [("user", "root"), ("no BTF", "BTF")] {
        let run = transcript.tried(&format!("{who} run"));
        assert_eq!((run.status, run.stdout), (2, ""), "{who}: {}", run.stderr);
        assert!(run.only_line().contains(why), "{who}: {}", run.stderr);
        assert_eq!(
            transcript.section(&format!("{who} ran")),
            "",
            "{who}: the command must not run"
        );
    }
    // Files alone tell the verdict, unless they do not tell whether the kernel refuses at all. The
    // blocks have numbers wherever the table can be read.
    for (who, status, verdict, ivmd, finding) in [
        ("user", 1, "blocked", false, "ivrs-unreadable"),
        ("no BTF", 3, "unknown", true, "no-btf"),
        ("no IVRS", 1, "blocked", false, "ivrs-unreadable"),
    ] {
        let check = transcript.tried(&format!("{who} check"));
        let told = check.json();
        assert_eq!(check.status, status, "{who}: {told}");
        let held = device(&told, "0000:00:03.0");
        assert_eq!(held["verdict"], verdict, "{who}: {held}");
        let causes = items(&held["causes"]);
        assert!(!causes.is_empty(), "{who}: {held}");
        assert!(causes.iter().all(|cause| cause["ivmd"].is_u64() == ivmd), "{who}: {held}");
        assert_eq!(device(&told, "0000:21:00.0")["verdict"], "clear", "{who}");
        // Those of entries come with a table that can be read.
        let mut findings = findings(&told);
        findings.retain(|code| !code.starts_with("ivmd-") && *code != "ivrs-dma-protection");
        assert_eq!(findings, [finding], "{who}");
    }
    for (who, why) in [("user", "root"), ("no BTF", "BTF")] {
        let check = transcript.tried(&format!("{who} check"));
        assert!(check.only_line().contains(why), "{who}: {}", check.stderr);
    }

    // Without the table the kernel's own list still names device and memory.
    let run = transcript.tried("no IVRS run");
    let told = run.json();
    assert_eq!(run.status, 1);
    assert!(run.only_line().contains("IVRS"), "{}", run.stderr);
    let [attempt] = items(&told["attempts"]) else { panic!("not one attempt: {told}") };
    assert_eq!(attempt["outcome"], "rejected");
    let [rejection] = items(&attempt["rejections"]) else { panic!("not one rejection: {told}") };
    assert_eq!(rejection["bdf"], "0000:00:03.0");
    let starts = items(&rejection["causes"]).iter().map(|cause| {
        assert_eq!(cause["ivmd"], Value::Null, "{cause}");
        assert!(cause["evidence"].to_string().contains("IVRS"), "{cause}");
        cause["start"].as_str().unwrap()
    });
    assert_eq!(starts.collect::<Vec<_>>(), ["0x7a2d9000", "0x7a2d8000", "0x7b2f6000"]);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn a_host_without_an_amd_iommu_is_judged_all_the_same() {
    // The refusal is not AMD's alone. A DMAR without an RMRR is no reason for a word.
    for (iommu, finding, verdict, check_status, run_status, outcome) in [
        (Iommu::None, &["no-iommu-groups"][..], "no_iommu", 3, 2, json!([])),
        (Iommu::Intel, &[], "clear", 0, 0, json!(["attached"])),
    ] {
        let transcript = Transcript::of(Guest { iommu, ..Guest::default() }, ANOTHER_IOMMU);
        let check = transcript.tried("check");
        let told = check.json();
        assert_eq!((check.status, check.stderr), (check_status, ""), "{iommu:?}: {told}");
        assert_eq!(findings(&told), finding, "{iommu:?}");
        let devices = items(&told["devices"]);
        assert!(!devices.is_empty(), "{iommu:?}: {told}");
        assert!(devices.iter().all(|device| device["verdict"] == verdict), "{iommu:?}: {told}");

        let run = transcript.tried("run");
        let told = run.json();
        assert_eq!(run.status, run_status, "{iommu:?}: {}", run.stderr);
        let lines = run.stderr.lines().count();
        assert_eq!(lines, finding.len(), "{iommu:?}: {}", run.stderr);
        let attempts = items(&told["attempts"]).iter().map(|attempt| &attempt["outcome"]);
        assert_eq!(json!(attempts.collect::<Vec<_>>()), outcome, "{iommu:?}: {told}");
    }
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn a_signal_leaves_nothing_in_the_kernel() {
    let transcript = Transcript::of(am5_desktop(), SIGNALS);
    assert_eq!(transcript.section("left before"), "");
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let events = transcript.tried(&format!("events {signal}"));
        assert_eq!(events.status, 0, "events, SIG{signal}: {}", events.stderr);
        assert_ne!(events.stdout, "", "events, SIG{signal}: the priming alone gives some");
        let during = transcript.section(&format!("events {signal} during"));
        assert!(during.contains("[bpf]"), "the programs were to be seen while it ran: {during:?}");
        assert_eq!(transcript.section(&format!("events {signal} left")), "");

        let run = transcript.tried(&format!("run {signal}"));
        assert_eq!(run.status, status, "run, SIG{signal}: {}", run.stderr);
        assert_eq!(run.json()["exit_status"], status, "run, SIG{signal}");
        assert_eq!(transcript.section(&format!("run {signal} left")), "");
        assert_eq!(transcript.section(&format!("run {signal} command")), "", "it was to end too");
    }
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn processes_that_attach_at_once_get_their_own_attempts() {
    let transcript = Transcript::of(am5_desktop(), TOGETHER);
    let told = transcript.tried("together").json();
    let attempts = items(&told["attempts"]);
    let outcomes: BTreeMap<&str, &str> = attempts
        .iter()
        .map(|attempt| {
            (attempt["requested"].as_str().unwrap(), attempt["outcome"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("0000:00:03.0", "rejected"),
        ("0000:00:04.0", "rejected"),
        ("0000:21:00.0", "attached"),
        ("0000:22:00.0", "attached"),
    ];
    assert_eq!(outcomes, BTreeMap::from(expected));
    for attempt in attempts {
        let rejected: Vec<&Value> =
            items(&attempt["rejections"]).iter().map(|rejection| &rejection["bdf"]).collect();
        if attempt["outcome"] == "rejected" {
            assert_eq!(rejected, [&attempt["requested"]]);
        } else {
            assert!(rejected.is_empty(), "{attempt}");
        }
    }
    let processes: BTreeMap<u64, &Value> = attempts
        .iter()
        .map(|attempt| (attempt["process"]["pid"].as_u64().unwrap(), attempt))
        .collect();
    assert_eq!((attempts.len(), processes.len()), (4, 4), "{told}");
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn the_command_is_the_callers() {
    let transcript = Transcript::of(am5_desktop(), CALLER);
    for (name, status, stdout) in [
        ("user", 0, "1000\n1000\n/home/user user user none\n"),
        ("root", 0, "0\n0\n/root none none 1000\n"),
        ("refused", 1, ""),
        ("killed", 137, ""),
        ("missing", 127, ""),
    ] {
        let tried = transcript.tried(name);
        assert_eq!((tried.status, tried.stdout), (status, stdout), "{name}: {}", tried.stderr);
        let explained = tried.stderr.contains("No attempt to attach a VFIO group");
        assert_eq!(explained, name != "missing", "{name}: {}", tried.stderr);
        // Where nobody got as far as a device, it may be for want of rights.
        let hinted = tried.stderr.contains("the command ran as user: --as-root");
        assert_eq!(hinted, matches!(name, "refused" | "killed"), "{name}: {}", tried.stderr);
    }
    let json = transcript.tried("json");
    assert_eq!(json.json()["exit_status"], 0);
    assert_eq!(json.only_line(), "words");

    let told = transcript.tried("rebound").json();
    let [attempt] = items(&told["attempts"]) else { panic!("not one attempt: {told}") };
    let changes = items(&attempt["driver_changes"]).iter().map(|change| {
        assert_ne!(change["process"]["pid"], attempt["process"]["pid"], "{change}");
        json!([change["program"], change["driver"], change["bdf"], change["bound"]])
    });
    let expected = [
        json!(["sh", "e1000e", "0000:00:03.0", false]),
        json!(["sh", "vfio-pci", "0000:00:03.0", true]),
    ];
    assert_eq!(changes.collect::<Vec<_>>(), expected, "{told}");
}
