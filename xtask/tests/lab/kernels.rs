//! The oldest and the newest kernel of the lab: the tool says what each of them did. The default
//! kernel is `truth`'s.

use serde_json::{Value, json};
use xtask::vm::Guest;

use crate::transcript::{Transcript, Tried, items};

/// A kernel and what is known of it.
struct Kernel {
    name: &'static str,
    /// Whether it has the check behind a refusal (`dev_iommu.require_direct`, mainline since 6.6).
    refuses: bool,
}

const OLDEST: Kernel = Kernel { name: "debian-6.1", refuses: false };
const NEWEST: Kernel = Kernel { name: "debian-newest", refuses: true };

/// A device, who of its group stops it on a kernel that refuses, and the numbers of the IVMD
/// blocks for that.
type Case = (&'static str, Option<(&'static str, &'static [u64])>);

const AM5_DESKTOP: [Case; 3] = [
    ("0000:00:03.0", Some(("0000:00:03.0", &[0, 1, 2]))),
    ("0000:03:01.0", Some(("0000:02:00.0", &[0, 1, 2]))),
    ("0000:21:00.0", None),
];

const SINGLE: [Case; 3] = [
    ("0000:00:07.0", Some(("0000:00:07.1", &[0]))),
    ("0000:00:03.0", None),
    ("0000:21:00.0", None),
];

const CHECK: &str = "try check ivrs-trace check --json";

const ATTEMPT: &str = r#"
    try "run $bdf" ivrs-trace run --json -- sh -c "vfio-attach $bdf > /tmp/attach 2>&1"
    section "attach $bdf"; cat /tmp/attach
"#;

/// What the kernel writes when it refuses.
const REFUSAL: &str = ": Firmware has requested this device have a 1:1 IOMMU mapping";

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn oldest_am5_desktop() {
    agrees(&OLDEST, "am5-desktop", &AM5_DESKTOP);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn oldest_single() {
    agrees(&OLDEST, "single", &SINGLE);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn newest_am5_desktop() {
    agrees(&NEWEST, "am5-desktop", &AM5_DESKTOP);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn newest_single() {
    agrees(&NEWEST, "single", &SINGLE);
}

fn agrees(kernel: &Kernel, firmware: &str, cases: &[Case]) {
    let guest = Guest {
        kernel: kernel.name.to_owned(),
        firmware: firmware.parse().unwrap(),
        ..Guest::default()
    };
    let devices: Vec<&str> = cases.iter().map(|(bdf, _)| *bdf).collect();
    let script = format!("{CHECK}\nfor bdf in {}; do {ATTEMPT}done\n", devices.join(" "));
    let transcript = Transcript::of(guest, &script);

    let check = transcript.tried("check");
    check_prediction(kernel, &check, cases);
    for (bdf, blocker) in cases {
        let calls = transcript.section(&format!("attach {bdf}"));
        let run = transcript.tried(&format!("run {bdf}"));
        check_attempt(&run, calls, bdf, blocker.filter(|_| kernel.refuses));
    }
    let log = transcript.kernel_log.lines().filter_map(|line| line.split_once(REFUSAL));
    let named: Vec<&str> = log.map(|(front, _)| front.rsplit(' ').next().unwrap()).collect();
    let blockers = cases.iter().filter_map(|(_, blocker)| blocker.filter(|_| kernel.refuses));
    assert_eq!(named, blockers.map(|(device, _)| device).collect::<Vec<_>>(), "the kernel's log");
}

fn check_prediction(kernel: &Kernel, check: &Tried<'_>, cases: &[Case]) {
    let told = check.json();
    assert_eq!(check.stderr, "", "nothing is missing that this kernel could show");
    assert_eq!(told["kernel"]["require_direct"], json!(kernel.refuses));
    assert_eq!(check.status, i64::from(kernel.refuses));
    for (bdf, blocker) in cases {
        let devices = items(&told["devices"]);
        let device = devices.iter().find(|device| device["bdf"] == *bdf).unwrap();
        let (verdict, by) = match blocker {
            Some((by, _)) if kernel.refuses => ("blocked", Some(by).filter(|by| *by != bdf)),
            _ => ("clear", None),
        };
        assert_eq!(device["verdict"], verdict, "{device}");
        assert_eq!(device["blocked_by"], json!(by), "{device}");
        if kernel.refuses {
            assert_eq!(ivmds(&device["causes"]), json!(blocker.map_or(&[][..], |(_, of)| of)));
        }
    }
    let warned =
        items(&told["findings"]).iter().any(|finding| finding["code"] == "refused-from-6.6");
    assert_eq!(warned, !kernel.refuses, "a newer kernel will refuse: {}", told["findings"]);
}

fn check_attempt(run: &Tried<'_>, calls: &str, bdf: &str, blocker: Option<(&str, &[u64])>) {
    // The kernel.
    let (last_call, outcome, errno) = match blocker {
        Some(_) => ("VFIO_GROUP_SET_CONTAINER = -1 EINVAL", "rejected", json!("EINVAL")),
        None => ("VFIO_GROUP_GET_DEVICE_FD = ", "attached", Value::Null),
    };
    let last = calls.trim().lines().last().unwrap_or_default();
    assert!(last.starts_with(last_call), "{bdf}: {calls}");
    assert_eq!(run.status, i64::from(blocker.is_some()), "{bdf}: {calls}");

    // The tool.
    assert_eq!(run.stderr, "", "{bdf}: nothing is missing that this kernel could show");
    let told = run.json();
    assert_eq!(told["lost"], json!({ "ring": 0, "read": 0, "queue": 0 }), "{bdf}");
    let [attempt] = items(&told["attempts"]) else { panic!("not one attempt: {told}") };
    assert_eq!(attempt["outcome"], outcome, "{attempt}");
    assert_eq!(attempt["errno"], errno, "{attempt}");
    assert_eq!(attempt["requested"], bdf, "{attempt}");
    let rejections: Vec<Value> = items(&attempt["rejections"])
        .iter()
        .map(|rejection| json!([rejection["bdf"], ivmds(&rejection["causes"])]))
        .collect();
    let expected: Vec<Value> = blocker.iter().map(|blocker| json!(blocker)).collect();
    assert_eq!(rejections, expected, "{attempt}");
}

/// The numbers of the IVMD blocks of causes.
fn ivmds(causes: &Value) -> Value {
    items(causes).iter().map(|cause| cause["ivmd"].clone()).collect()
}
