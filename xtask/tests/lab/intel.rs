//! An Intel IOMMU whose DMAR has RMRRs: the refusal is the same, and is explained by them.

use std::collections::BTreeMap;

use serde_json::Value;
use xtask::vm::{Guest, Iommu};

use crate::transcript::{Transcript, items};

/// The prediction, a traced attach of a device with an RMRR and of one without, then an attach of
/// every function that is in a group.
const SCRIPT: &str = r#"
section regions
for group in /sys/kernel/iommu_groups/*; do
    for device in $group/devices/*; do
        grep -h direct $group/reserved_regions | sed "s/^/${device##*/} /"
    done
done
try check ivrs-trace check --json
try text ivrs-trace check
try decode ivrs-trace decode --json /sys/firmware/acpi/tables/DMAR
try refused ivrs-trace run --json -- vfio-attach 00:03.0
try explained ivrs-trace run -- vfio-attach 00:03.0
try free ivrs-trace run --json -- vfio-attach 00:04.0
try vendor ivrs-trace report --for vendor
section attached
for folder in /sys/bus/pci/devices/*; do
    [ -e $folder/iommu_group ] || continue
    bdf=${folder##*/}
    case $(cat $folder/class) in 0x0604*) continue;; esac
    vfio-attach $bdf > /tmp/attach 2>&1 && echo "$bdf yes" || echo "$bdf no"
done
"#;

/// Who is refused: 00:03.0 by a scope of its own, 01:00.0 by a way over a port, 02:00.0 and what is
/// below it as the bridge above them is named. 00:06.0 is a USB controller.
const REFUSED: [&str; 4] = ["0000:00:03.0", "0000:01:00.0", "0000:03:01.0", "0000:03:02.0"];

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn an_rmrr_is_named_where_the_kernel_refuses_for_it() {
    let guest =
        Guest { iommu: Iommu::Intel, firmware: "rmrr".parse().unwrap(), ..Guest::default() };
    let transcript = Transcript::of(guest, SCRIPT);
    let regions = transcript.section("regions");
    assert!(
        regions.contains("0000:00:06.0 0x000000007a2d8000 0x000000007a2d8fff direct-relaxable"),
        "{regions}"
    );

    // What is said of each function is what the kernel does.
    let check = transcript.tried("check");
    let told = check.json();
    assert_eq!(check.status, 1, "{}", check.stderr);
    let verdicts: BTreeMap<&str, &str> = items(&told["devices"])
        .iter()
        .map(|device| (text(&device["bdf"]), text(&device["verdict"])))
        .collect();
    let mut refused = Vec::new();
    for line in transcript.section("attached").lines() {
        let (bdf, taken) = line.split_once(' ').unwrap();
        assert_eq!(
            verdicts[bdf],
            if taken == "yes" { "clear" } else { "blocked" },
            "{bdf}: {told}"
        );
        if taken == "no" {
            refused.push(bdf);
        }
    }
    assert_eq!(refused, REFUSED);
    assert_eq!(verdicts["0000:00:06.0"], "clear");
    let codes: Vec<&str> = items(&told["findings"]).iter().map(|one| text(&one["code"])).collect();
    assert!(codes.contains(&"rmrr-relaxable"), "{codes:?}");

    // The RMRR is named with its place and its scope: where the table has it.
    let table = transcript.tried("decode").json();
    let rmrr = &items(&table["rmrr"])[0];
    assert_eq!(rmrr["start"], "0x7a2d9000");
    let refused = transcript.tried("refused").json();
    let [attempt] = items(&refused["attempts"]) else { panic!("not one attempt: {refused}") };
    assert_eq!(attempt["outcome"], "rejected", "{refused}");
    let [rejection] = items(&attempt["rejections"]) else { panic!("not one: {refused}") };
    assert_eq!(rejection["bdf"], "0000:00:03.0");
    let [cause] = items(&rejection["causes"]) else { panic!("not one cause: {refused}") };
    assert_eq!((&cause["kind"], &cause["rmrr"]), (&"rmrr".into(), &0.into()));
    assert_eq!(cause["offset"], rmrr["offset"]);
    assert_eq!((&cause["start"], &cause["end"]), (&rmrr["start"], &rmrr["end"]));
    assert_eq!(cause["scope"], "endpoint 00:03.0");
    let by_check = items(&told["devices"]).iter().find(|one| one["bdf"] == "0000:00:03.0").unwrap();
    assert_eq!(by_check["causes"][0]["offset"], rmrr["offset"]);

    let explained = transcript.tried("explained").stderr;
    let offset = text(&rmrr["offset"]);
    assert!(explained.contains(&format!("RMRR 0 of the DMAR, at offset {offset}")), "{explained}");
    assert!(explained.contains("endpoint 00:03.0: the device itself"), "{explained}");
    assert!(transcript.tried("text").stdout.contains("bridge 00:09.0"));
    assert!(transcript.tried("vendor").stdout.contains("DMAR"));

    let free = transcript.tried("free").json();
    assert_eq!(items(&free["attempts"])[0]["outcome"], "attached", "{free}");
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
