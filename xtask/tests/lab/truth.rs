//! For every function of the guest and several firmwares: the tool says what the kernel did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use xtask::vm::{Firmware, Guest};

use crate::oracle::{self, Block};
use crate::transcript::{Transcript, items, number};

/// The prediction, then a traced attach of every function that is in an IOMMU group. A line in
/// the kernel's log tells where each attempt starts.
const SCRIPT: &str = r#"
section modules; ls /sys/module | grep vfio
section table; od -An -v -tx1 /sys/firmware/acpi/tables/IVRS
section functions
for folder in /sys/bus/pci/devices/*; do
    group=
    [ -e $folder/iommu_group ] && group=$(basename "$(readlink $folder/iommu_group)")
    echo "${folder##*/} $group"
done
try check ivrs-trace check --json
for folder in /sys/bus/pci/devices/*; do
    [ -e $folder/iommu_group ] || continue
    bdf=${folder##*/}
    echo "lab: attempt $bdf" > /dev/kmsg
    try "run $bdf" ivrs-trace run --json -- sh -c "vfio-attach $bdf > /tmp/attach 2>&1"
    section "attach $bdf"; cat /tmp/attach
done
"#;

/// Ports and bridges, which VFIO takes no more than the kernel lets it: nothing can be tried.
const UNTRIED: [&str; 5] =
    ["0000:00:08.0", "0000:00:09.0", "0000:02:00.0", "0000:20:00.0", "0000:20:01.0"];

/// Not in a group: the IOMMU itself.
const UNGROUPED: [&str; 1] = ["0000:00:01.0"];

/// What the kernel writes when it refuses.
const REFUSAL: &str = ": Firmware has requested this device have a 1:1 IOMMU mapping";

const RANGE: Block =
    Block { kind: 0x22, flags: 0x07, devid: 0, aux: 0x0fff, start: 0x7a2d_9000, length: 0x1000 };

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn none() {
    truth("none".parse().unwrap(), &[]);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn single() {
    let blocks = [Block { kind: 0x21, devid: 0x0039, aux: 0, ..RANGE }];
    truth("single".parse().unwrap(), &blocks);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn all() {
    truth("all".parse().unwrap(), &[Block { kind: 0x20, aux: 0, ..RANGE }]);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn am5_desktop() {
    let at = |start| Block { flags: 0x08, start, ..RANGE };
    truth("am5-desktop".parse().unwrap(), &[at(0x7a2d_9000), at(0x7a2d_8000), at(0x7b2f_6000)]);
}

/// The kernel skips the first block, so its numbers are not the table's. Behind the bridge a
/// device is covered and the bridge is not.
#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn blocks_that_are_skipped_narrow_unaligned_and_empty() {
    hand_made(&[
        Block { flags: 0x06, aux: 0xffff, ..RANGE },
        Block { devid: 0x0300, aux: 0x03ff, ..RANGE },
        Block { kind: 0x21, flags: 0x03, devid: 0x0028, aux: 0, start: 0x7b00_0800, length: 0x800 },
        Block { kind: 0x21, devid: 0x0020, aux: 0, start: 0x7c00_0000, length: 0, ..RANGE },
    ]);
}

/// A range that ends before it starts and the bridge's alias have no effect; two blocks overlap
/// on one bus.
#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn blocks_that_match_nothing_and_blocks_that_overlap() {
    hand_made(&[
        Block { devid: 0x0fff, aux: 0x0000, ..RANGE },
        Block { kind: 0x21, devid: 0x0300, aux: 0, ..RANGE },
        Block { devid: 0x2100, aux: 0x22ff, length: 0x2000, ..RANGE },
        Block { flags: 0x08, devid: 0x2100, aux: 0x21ff, start: 0x7a2d_a000, ..RANGE },
    ]);
}

fn hand_made(blocks: &[Block]) {
    let add = |firmware: Firmware, block: &Block| firmware.with(block.into());
    truth(blocks.iter().fold(Firmware::default(), add), blocks);
}

/// What was told otherwise than it is: all of it is shown, not the first only.
#[derive(Default)]
struct Differences {
    /// What is being looked at.
    subject: String,
    found: Vec<String>,
}

impl Differences {
    fn same(&mut self, what: &str, told: &Value, truth: &Value) {
        if told != truth {
            self.found.push(format!("{}: {what}: told {told}, is {truth}", self.subject));
        }
    }
}

/// The guest as it is: its functions and what the firmware demands of them.
struct Host<'a> {
    blocks: &'a [Block],
    table: Vec<u8>,
    /// Function to group.
    groups: BTreeMap<&'a str, u64>,
}

impl<'a> Host<'a> {
    /// See [`oracle::blocker`].
    fn blocker(&self, bdf: &str) -> Option<(&'a str, Vec<usize>)> {
        let group = self.groups[bdf];
        let members = self.groups.iter().filter(|(_, other)| **other == group);
        oracle::blocker(self.blocks, &members.map(|(bdf, _)| *bdf).collect::<Vec<_>>())
    }

    /// Holds causes that were told against the blocks that they must name.
    fn check_causes(&self, different: &mut Differences, told: &Value, blocks: &[usize]) {
        let causes = items(told);
        let indices: Vec<&Value> = causes.iter().map(|cause| &cause["ivmd"]).collect();
        different.same("IVMD numbers", &json!(indices), &json!(blocks));
        for (cause, index) in causes.iter().zip(blocks) {
            let block = self.blocks[*index];
            let told = json!([number(&cause["start"]), number(&cause["end"])]);
            different.same("memory", &told, &json!(block.region()));
            let at = usize::try_from(number(&cause["offset"])).unwrap();
            let told = json!([self.table.get(at..at + 8), self.table.get(at + 16..at + 32)]);
            different.same("bytes at the offset", &told, &json!(block.bytes()));
            different.same(
                "no evidence",
                &json!(items(&cause["evidence"]).is_empty()),
                &json!(false),
            );
        }
    }
}

fn truth(firmware: Firmware, blocks: &[Block]) {
    let transcript = Transcript::of(Guest { firmware, ..Guest::default() }, SCRIPT);
    assert_eq!(transcript.section("modules"), "", "VFIO must not be loaded before the first try");
    let functions = transcript.section("functions").lines().filter_map(|line| line.split_once(' '));
    let (ungrouped, grouped): (Vec<_>, Vec<_>) = functions.partition(|(_, group)| group.is_empty());
    assert_eq!(ungrouped, UNGROUPED.map(|bdf| (bdf, "")));
    assert_eq!(grouped.len(), 21, "functions of the guest: {grouped:?}");
    let table = transcript.section("table").split_whitespace();
    let host = Host {
        blocks,
        table: table.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect(),
        groups: grouped.iter().map(|(bdf, group)| (*bdf, group.parse().unwrap())).collect(),
    };

    let mut different = Differences::default();
    check_prediction(&mut different, &host, &transcript);
    let refusals = kernel_refusals(&transcript.kernel_log);
    let mut untried = Vec::new();
    for bdf in host.groups.keys() {
        different.subject = format!("run {bdf}");
        let refused = refusals.get(*bdf).expect("the log tells where each attempt starts");
        if !check_attempt(&mut different, &host, &transcript, bdf, refused) {
            untried.push(*bdf);
        }
    }
    assert_eq!(untried, UNTRIED, "functions that could not be tried");
    let found = different.found;
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// The devices that the kernel's log names as refused, by the function that was tried.
fn kernel_refusals(log: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut refusals: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut tried = "";
    for line in log.lines() {
        if let Some((_, bdf)) = line.split_once("lab: attempt ") {
            tried = bdf.trim();
            refusals.entry(tried).or_default();
        } else if let Some((front, _)) = line.split_once(REFUSAL) {
            let device = front.rsplit(' ').next().unwrap();
            refusals.entry(tried).or_default().push(device);
        }
    }
    refusals
}

/// `check` before any attach against what the firmware demands.
fn check_prediction(different: &mut Differences, host: &Host<'_>, transcript: &Transcript) {
    let check = transcript.tried("check");
    let told = check.json();
    let devices: BTreeMap<&str, &Value> = items(&told["devices"])
        .iter()
        .map(|device| (device["bdf"].as_str().unwrap(), device))
        .collect();
    different.subject = "check".to_owned();
    let functions: BTreeSet<&str> = host.groups.keys().copied().chain(UNGROUPED).collect();
    different.same("devices", &json!(devices.keys().collect::<Vec<_>>()), &json!(functions));
    for (bdf, device) in devices {
        if UNGROUPED.contains(&bdf) {
            different.subject = format!("check {bdf}");
            different.same("verdict", &device["verdict"], &json!("platform"));
            different.same("group", &device["group"], &Value::Null);
            continue;
        }
        different.subject = format!("check {bdf}");
        let blocker = host.blocker(bdf);
        different.same("group", &device["group"], &json!(host.groups[bdf]));
        let verdict = if blocker.is_some() { "blocked" } else { "clear" };
        different.same("verdict", &device["verdict"], &json!(verdict));
        let other = blocker.as_ref().map(|(device, _)| *device).filter(|device| *device != bdf);
        different.same("blocked by", &device["blocked_by"], &json!(other));
        let causes = blocker.map(|(_, causes)| causes).unwrap_or_default();
        host.check_causes(different, &device["causes"], &causes);
    }

    different.subject = "check".to_owned();
    // The reach of each block that the kernel heeds, also of one that reaches nothing.
    let heeded = (0..host.blocks.len()).filter(|index| host.blocks[*index].is_heeded());
    let entries: Vec<Value> = heeded
        .map(|index| {
            let covers = |bdf: &&str| host.blocks[index].covers(oracle::devid(bdf));
            let devices: Vec<&str> = host.groups.keys().copied().filter(covers).collect();
            let groups: BTreeSet<u64> = devices.iter().map(|bdf| host.groups[bdf]).collect();
            json!({ "ivmd": index, "devices": devices, "groups": groups })
        })
        .collect();
    // Whom an entry is likely for is the table's word, not the kernel's.
    let reach = |entry: &Value| json!({ "ivmd": entry["ivmd"], "devices": entry["devices"], "groups": entry["groups"] });
    let told_entries: Vec<Value> = items(&told["entries"]).iter().map(reach).collect();
    different.same("entries", &json!(told_entries), &json!(entries));
    let any = host.groups.keys().any(|bdf| host.blocker(bdf).is_some());
    different.same("exit status", &json!(check.status), &json!(i64::from(any)));
    different.same("standard error", &json!(check.stderr), &json!(""));
}

/// One traced attach: the ioctl's result, the kernel's log, the firmware and the tool's word are
/// the same. Returns whether the attach could be tried at all.
fn check_attempt(
    different: &mut Differences,
    host: &Host<'_>,
    transcript: &Transcript,
    bdf: &str,
    refused: &[&str],
) -> bool {
    let run = transcript.tried(&format!("run {bdf}"));
    let told = run.json();
    different.same("exit status in JSON", &told["exit_status"], &json!(run.status));
    different.same("lost", &told["lost"], &json!({ "ring": 0, "read": 0, "queue": 0 }));
    let calls = transcript.section(&format!("attach {bdf}"));
    if run.status == 2 {
        different.same("attempts", &told["attempts"], &json!([]));
        assert!(calls.contains("is a PCI bridge"), "{bdf}: {calls}");
        return false;
    }

    // The kernel against the firmware.
    let blocker = host.blocker(bdf);
    let (last_call, outcome, errno) = match &blocker {
        Some(_) => ("VFIO_GROUP_SET_CONTAINER = -1 EINVAL", "rejected", json!("EINVAL")),
        None => ("VFIO_GROUP_GET_DEVICE_FD = ", "attached", Value::Null),
    };
    let last = calls.trim().lines().last().unwrap_or_default();
    assert!(last.starts_with(last_call), "{bdf}: {calls}");
    assert_eq!(run.status, i64::from(blocker.is_some()), "{bdf}: {calls}");
    let named: Vec<&str> = blocker.iter().map(|(device, _)| *device).collect();
    assert_eq!(refused, named, "{bdf}: the kernel's log");

    // The tool against the kernel.
    let attempts = items(&told["attempts"]);
    different.same("number of attempts", &json!(attempts.len()), &json!(1));
    for attempt in attempts {
        different.same("outcome", &attempt["outcome"], &json!(outcome));
        different.same("errno", &attempt["errno"], &errno);
        different.same("requested", &attempt["requested"], &json!(bdf));
        different.same("group", &attempt["group"], &json!(host.groups[bdf]));
        different.same("process", &attempt["process"]["comm"], &json!("vfio-attach"));
        different.same("call", &attempt["call"], &json!("VFIO_GROUP_SET_CONTAINER"));
        let rejections = items(&attempt["rejections"]);
        let devices: Vec<&Value> = rejections.iter().map(|rejection| &rejection["bdf"]).collect();
        different.same("rejected devices", &json!(devices), &json!(refused));
        for (rejection, (_, causes)) in rejections.iter().zip(&blocker) {
            host.check_causes(different, &rejection["causes"], causes);
        }
    }
    true
}
