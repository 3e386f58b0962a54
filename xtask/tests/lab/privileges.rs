//! What the tool does with few rights, what it gives up, and what `doctor` says of the guest.

use serde_json::{Value, json};
use xtask::vm::{Firmware, Guest, Iommu};

use crate::transcript::{Transcript, items};

/// The capabilities that docs/security.md names, one missing at a time, and what is left of them.
const RIGHTS: &str = r#"
mount -t securityfs securityfs /sys/kernel/security
sysctl -q -w kernel.perf_event_paranoid=2
vfio-attach 00:03.0 > /tmp/bound 2>&1
chmod 666 /dev/vfio/*
all=BPF,PERFMON,DAC_READ_SEARCH,SYS_PTRACE,SYSLOG
attach() {
    name=$1; shift
    try "$name run" with-caps 1000 "$1" ivrs-trace run --json -- sh -c 'vfio-attach 00:03.0 > /tmp/attach 2>&1'
    rm -f /tmp/attach
}
attach all $all
try "all check" with-caps 1000 $all ivrs-trace check --json
try "all doctor" with-caps 1000 $all ivrs-trace doctor --json
attach BPF PERFMON,DAC_READ_SEARCH,SYS_PTRACE,SYSLOG
attach PERFMON BPF,DAC_READ_SEARCH,SYS_PTRACE,SYSLOG
attach DAC_READ_SEARCH BPF,PERFMON,SYS_PTRACE,SYSLOG
attach SYS_PTRACE BPF,PERFMON,DAC_READ_SEARCH,SYSLOG
try "SYSLOG doctor" with-caps 1000 BPF,PERFMON,DAC_READ_SEARCH,SYS_PTRACE ivrs-trace doctor --json
try "none doctor" with-caps 1000 none ivrs-trace doctor --json

left() { cat /proc/$(pidof ivrs-trace)/task/*/status | grep -E '^(Name|Uid|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)'; }
(sleep 5; left > /tmp/left) &
try "user events" timeout -s INT 8 with-caps 1000 $all ivrs-trace events -o /tmp/user.ivt
section "user left"; cat /tmp/left
chown 1000:1000 /home/user; chmod 700 /home/user
(sleep 5; left > /tmp/left; grep CapBnd /proc/$(pidof ivrs-trace)/status >> /tmp/left) &
try "sudo record" env SUDO_UID=1000 SUDO_GID=1000 timeout -s INT 8 ivrs-trace record -o /home/user/sudo.ivt
section "sudo left"; cat /tmp/left
section "sudo owner"; stat -c '%u:%g %a' /home/user/sudo.ivt
echo mine > /root/victim
ln -s /root/victim /tmp/link
chown -h 1000:1000 /tmp/link
try "planted report" ivrs-trace report --for forum -o /tmp/link
try "planted record" ivrs-trace record --snapshot-only --force -o /tmp/link
section "victim"; cat /root/victim

try "text doctor" ivrs-trace doctor 00:03.0

sysctl -q -w kernel.perf_event_paranoid=3
attach paranoid $all
"#;

const DOCTOR: &str = r"
mount -t securityfs securityfs /sys/kernel/security
try doctor ivrs-trace doctor 00:03.0 --json
try events timeout -s INT 5 ivrs-trace events
";

/// The line of `doctor` with this code.
#[track_caller]
fn line<'a>(document: &'a Value, section: &str, code: &str) -> &'a Value {
    let found = items(&document[section]).iter().find(|line| line["code"] == code);
    found.unwrap_or_else(|| panic!("no {code} in {document}"))
}

/// Asserts that the refusal was seen and named, with or without the number of its block.
#[track_caller]
fn assert_refused(told: &Value, numbered: bool) {
    let [attempt] = items(&told["attempts"]) else { panic!("not one attempt: {told}") };
    assert_eq!(attempt["outcome"], "rejected", "{told}");
    let [rejection] = items(&attempt["rejections"]) else { panic!("not one rejection: {told}") };
    assert_eq!(rejection["bdf"], "0000:00:03.0");
    let blocks: Vec<_> = items(&rejection["causes"]).iter().map(|cause| &cause["ivmd"]).collect();
    assert_eq!(json!(blocks), if numbered { json!([0, 1, 2]) } else { json!([null, null, null]) });
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn named_capabilities_are_enough_and_each_that_is_missing_is_told() {
    let firmware: Firmware = "am5-desktop".parse().unwrap();
    let transcript = Transcript::of(Guest { firmware, ..Guest::default() }, RIGHTS);

    let run = transcript.tried("all run");
    assert_eq!((run.status, run.stderr), (1, ""), "{}", run.stdout);
    assert_refused(&run.json(), true);
    let check = transcript.tried("all check");
    assert_eq!((check.status, check.stderr), (1, ""));
    let doctor = transcript.tried("all doctor").json();
    let missing = items(&doctor["tracing"]).iter().any(|line| line["code"] == "rights-missing");
    assert!(!missing, "{doctor}");
    let left = line(&doctor, "tracing", "rights-left");
    assert!(left["message"].as_str().unwrap().ends_with("of its rights: CAP_PERFMON"), "{left}");
    // The lab's table comes from the initrd.
    let origin = line(&doctor, "table", "table-origin");
    assert_eq!(origin["state"], "warning");
    assert!(origin["evidence"].to_string().contains("Table Upgrade: override [IVRS"), "{origin}");
    assert_eq!(line(&doctor, "vfio", "interrupt-remapping")["state"], "ok");
    assert!(line(&doctor, "iommu", "iommu")["message"].to_string().contains("AMD"));

    for needed in ["BPF", "PERFMON"] {
        let run = transcript.tried(&format!("{needed} run"));
        assert_eq!((run.status, run.stdout), (2, ""), "{needed}");
        let name = format!("lacks CAP_{needed};");
        assert!(run.only_line().contains(&name), "{needed}: {}", run.stderr);
    }
    for (wanted, numbered) in [("DAC_READ_SEARCH", false), ("SYS_PTRACE", true)] {
        let run = transcript.tried(&format!("{wanted} run"));
        assert_eq!(run.status, 1, "{wanted}");
        let lines: Vec<_> = run.stderr.lines().collect();
        assert!(lines.iter().any(|line| line.contains(&format!("CAP_{wanted}"))), "{lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_refused(&run.json(), numbered);
    }
    let run = transcript.tried("paranoid run");
    assert!(run.only_line().contains("kernel.perf_event_paranoid is 3"), "{}", run.stderr);
    assert_refused(&run.json(), true);
    let doctor = transcript.tried("SYSLOG doctor").json();
    let origin = line(&doctor, "table", "table-origin");
    assert_eq!(origin["state"], "unknown");
    assert!(origin["todo"].as_str().unwrap().contains("CAP_SYSLOG"), "{origin}");
    let doctor = transcript.tried("none doctor");
    assert_eq!(doctor.status, 1);
    assert_eq!(line(&doctor.json(), "tracing", "probes")["state"], "no");

    assert_left(transcript.section("user left"), 1000);
    assert_left(transcript.section("sudo left"), 1000);
    assert!(transcript.section("sudo left").contains("CapBnd:\t0000000000000000"));
    assert_eq!(transcript.section("sudo owner"), "1000:1000 600\n");
    for name in ["planted report", "planted record"] {
        assert_eq!(transcript.tried(name).status, 2, "{name}");
        let _: &str = transcript.tried(name).only_line();
    }
    assert_eq!(transcript.section("victim").trim(), "mine");

    let text = transcript.tried("text doctor");
    assert!(text.stdout.contains("NO       firmware blocks it"), "{}", text.stdout);
}

/// Asserts that the threads of a process have the rights that docs/security.md names, and no more.
#[track_caller]
fn assert_left(statuses: &str, user: u32) {
    let threads: Vec<&str> = statuses.split("Name:").skip(1).collect();
    assert_eq!(threads.len(), 2, "{statuses}");
    for thread in threads {
        let field = |name: &str| {
            let line = thread.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {thread}")).trim()
        };
        // CAP_PERFMON is number 38.
        let left = if thread.contains("recorder") { 0 } else { 1_u64 << 38 };
        for set in ["CapPrm:", "CapEff:"] {
            assert_eq!(u64::from_str_radix(field(set), 16).unwrap(), left, "{thread}");
        }
        for set in ["CapInh:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(field(set), 16).unwrap(), 0, "{thread}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        assert!(field("Uid:").split_whitespace().all(|id| id == user.to_string()), "{thread}");
    }
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn doctor_tells_of_lockdown_and_of_a_host_without_an_iommu() {
    for (append, iommu, traces) in [
        ("", Iommu::None, true),
        ("lockdown=integrity", Iommu::default(), true),
        ("lockdown=confidentiality", Iommu::default(), false),
    ] {
        let guest = Guest { iommu, append: append.to_owned(), ..Guest::default() };
        let transcript = Transcript::of(guest, DOCTOR);
        let doctor = transcript.tried("doctor");
        let told = doctor.json();
        let lockdown = line(&told, "tracing", "lockdown");
        assert_eq!(lockdown["state"], if traces { "ok" } else { "no" }, "{append}: {told}");
        let probes = line(&told, "tracing", "probes");
        assert_eq!(probes["state"], if traces { "ok" } else { "no" }, "{append}: {told}");
        let events = transcript.tried("events");
        assert_eq!(events.status == 2, !traces, "{append}: {}", events.stderr);
        if !traces {
            assert!(events.only_line().contains("locked down for confidentiality"));
        }
        let none = iommu == Iommu::None;
        assert_eq!(line(&told, "iommu", "iommu")["state"], if none { "no" } else { "ok" });
        assert_eq!(doctor.status == 1, none || !traces, "{append}: {told}");
        if !none {
            // QEMU's own table.
            assert_eq!(line(&told, "table", "table-origin")["state"], "ok", "{told}");
        }
    }
}
