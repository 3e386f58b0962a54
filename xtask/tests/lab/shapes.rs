//! What files alone foretell, without a single probe, for many shapes of firmware and on the
//! oldest and the newest kernel that refuses: `check --from /` against the ioctl's result.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask::vm::{Firmware, Guest};

use crate::oracle::{self, Block};
use crate::transcript::{Transcript, items};

/// An attach of every function that is in an IOMMU group, not traced: a line with its address, its
/// group and the status of `vfio-attach`.
pub(crate) const ATTACHES: &str = r#"
for folder in /sys/bus/pci/devices/*; do
    [ -e $folder/iommu_group ] || continue
    vfio-attach ${folder##*/} > /tmp/attach 2>&1
    echo "${folder##*/} $(basename "$(readlink $folder/iommu_group)") $?"
done
"#;

pub(crate) const RANGE: Block =
    Block { kind: 0x22, flags: 0x07, devid: 0, aux: 0x0fff, start: 0x7a2d_9000, length: 0x1000 };
pub(crate) const ONE: Block = Block { kind: 0x21, aux: 0, ..RANGE };

/// Shapes by name; each is the only block of its table.
const SHAPES: [(&str, Block); 12] = [
    ("range, unity map", RANGE),
    ("range, exclusion range", Block { flags: 0x08, ..RANGE }),
    ("range, neither of them", Block { flags: 0x06, ..RANGE }),
    ("all devices", Block { kind: 0x20, aux: 0, ..RANGE }),
    ("one of two in a group", Block { devid: 0x0039, ..ONE }),
    ("one behind the bridge", Block { devid: 0x0310, ..ONE }),
    ("the bridge's alias", Block { devid: 0x0300, ..ONE }),
    ("unaligned", Block { start: 0x7a2d_9800, length: 0x800, ..RANGE }),
    ("no length", Block { length: 0, ..RANGE }),
    ("end before start", Block { devid: 0x0fff, aux: 0, ..RANGE }),
    ("unity map and exclusion range", Block { flags: 0x0f, ..RANGE }),
    ("read only", Block { devid: 0x2100, flags: 0x03, ..ONE }),
];

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn files_foretell_what_6_12_does() {
    foretold_on("debian-6.12");
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn files_foretell_what_the_newest_kernel_does() {
    foretold_on("debian-newest");
}

fn foretold_on(kernel: &str) {
    let wrong: Vec<String> =
        SHAPES.iter().flat_map(|(name, block)| differences(kernel, name, *block)).collect();
    assert!(wrong.is_empty(), "{} differences on {kernel}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where prediction, firmware and kernel do not say the same.
fn differences(kernel: &str, name: &str, block: Block) -> Vec<String> {
    let firmware = Firmware::default().with((&block).into());
    let guest = Guest { kernel: kernel.to_owned(), firmware, ..Guest::default() };
    let script =
        format!("try check ivrs-trace check --json --from /\nsection attaches\n{ATTACHES}");
    let transcript = Transcript::of(guest, &script);
    let told = transcript.tried("check").json();
    let devices: BTreeMap<&str, &Value> = items(&told["devices"])
        .iter()
        .map(|device| (device["bdf"].as_str().unwrap(), device))
        .collect();
    let attaches = attaches(transcript.section("attaches"));
    assert_eq!(attaches.len(), 21, "{name}: functions of the guest");
    let grouped = devices.values().filter(|device| !device["group"].is_null()).count();
    assert_eq!(grouped, attaches.len(), "{name}: devices of check that have a group");

    let mut wrong = Vec::new();
    let mut tried = 0;
    for (bdf, group, status) in &attaches {
        let members: Vec<&str> =
            attaches.iter().filter(|one| one.1 == *group).map(|one| one.0).collect();
        let blocked = oracle::blocker(&[block], &members).is_some();
        let device = devices[bdf];
        let mut same = |what: &str, told: &Value, truth: Value| {
            if *told != truth {
                wrong.push(format!("{name}, {bdf}: {what}: told {told}, is {truth}"));
            }
        };
        same("verdict", &device["verdict"], json!(if blocked { "blocked" } else { "clear" }));
        let causes: Vec<&Value> =
            items(&device["causes"]).iter().map(|cause| &cause["ivmd"]).collect();
        same("IVMD numbers", &json!(causes), if blocked { json!([0]) } else { json!([]) });
        match *status {
            // A bridge: VFIO takes none.
            "2" => continue,
            "0" => same("attach", &json!("attached"), json!(attach_of(blocked))),
            "1" => same("attach", &json!("refused"), json!(attach_of(blocked))),
            other => panic!("{name}, {bdf}: vfio-attach ended with {other}"),
        }
        tried += 1;
    }
    assert_eq!(tried, 16, "{name}: functions that could be tried");
    wrong
}

/// The lines of [`ATTACHES`]: function, group and status.
pub(crate) fn attaches(text: &str) -> Vec<(&str, &str, &str)> {
    let words = |line| {
        let mut words = str::split(line, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("attaches: {line:?}"));
        (word(), word(), word())
    };
    text.lines().map(words).collect()
}

fn attach_of(blocked: bool) -> &'static str {
    if blocked { "refused" } else { "attached" }
}
