//! What the tool said of a cell, and in what it is not the truth.

use serde_json::{Value, json};

use super::cells::{Boot, Case, Cell, Machine, Path};
use super::guest::Seen;
use super::truth::{self, Facts};
use crate::transcript::{Transcript, items};

/// What came of holding the tool's words against the truth.
#[derive(Default)]
pub(super) struct Compared {
    /// Where they are not the truth, a line each.
    pub(super) wrong: Vec<String>,
    /// What they leave open, and may.
    pub(super) open: Vec<&'static str>,
}

/// Holds what the tool said of an attempt against the truth; `may_be_open` are the facts that it
/// need not know.
pub(super) fn compare(
    document: &Value,
    cell: Cell,
    seen: &Seen<'_>,
    truth: &Facts,
    may_be_open: &[&str],
) -> Compared {
    let attempts: Vec<&Value> = items(&document["attempts"])
        .iter()
        .filter(|attempt| attempt["process"]["pid"] == seen.pid)
        // A process may take two groups.
        .filter(|attempt| {
            !matches!(cell.case, Case::ConflictWith(..)) || attempt["group"] == json!(seen.group)
        })
        .collect();
    let [attempt] = attempts.as_slice() else {
        let wrong = vec![format!("{} attempts are told: {attempts:?}", attempts.len())];
        return Compared { wrong, open: Vec::new() };
    };
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    let mut same = |what: &str, told: &Value, is: &Value| {
        if told != is {
            wrong.push(format!("{what}: told {told}, is {is}"));
        }
    };
    for (what, is) in truth {
        let told = match *what {
            "rejections" => pairs(&attempt["rejections"], |one| {
                let blocks = items(&one["causes"]).iter().map(|cause| cause["ivmd"].clone());
                json!([one["bdf"], blocks.collect::<Value>()])
            }),
            "host_drivers" => {
                pairs(&attempt["host_drivers"], |one| json!([one["bdf"], one["driver"]]))
            }
            "also" => pairs(&attempt["also"], |one| json!([one["reason"], one["devices"]])),
            "owned_by" => attempt["owned_by"]["pid"].clone(),
            plain => attempt[plain].clone(),
        };
        let left_open = told.is_null() || told == "unknown";
        if left_open && told != *is && may_be_open.contains(what) {
            open.push(*what);
        } else {
            same(what, &told, is);
        }
    }
    same("command", &attempt["process"]["comm"], &json!("vfio-attach"));
    if let Some(via) = via(cell, seen) {
        same("way", &attempt["via"], &json!(via));
    }
    Compared { wrong, open }
}

fn pairs(list: &Value, of: impl Fn(&Value) -> Value) -> Value {
    items(list).iter().map(of).collect()
}

/// The way that was gone, as far as the process came on it: until a container is there, it is not
/// to be seen which kind it will be.
fn via(cell: Cell, seen: &Seen<'_>) -> Option<&'static str> {
    match (cell.case, cell.path) {
        (Case::NoIommu, _) => Some("vfio-pci"),
        (_, Path::Cdev) => Some("iommufd"),
        (_, Path::Legacy | Path::Status) => Some("vfio-group"),
        (_, Path::Compat) => {
            seen.last_call().starts_with("VFIO_GROUP_GET_DEVICE_FD").then_some("iommufd-compat")
        }
    }
}

/// Where what `check` foretold for a device is not what the firmware and the kernel's rules lead to.
pub(super) fn not_foretold(check: &Value, boot: &Boot, cell: Cell, seen: &Seen<'_>) -> Vec<String> {
    if boot.machine == Machine::NoIommu || !seen.members.contains_key(cell.device) {
        return Vec::new();
    }
    let members: Vec<&str> = seen.members.keys().copied().collect();
    let blocker = truth::blocker(boot, &members);
    let Some(device) = items(&check["devices"]).iter().find(|one| one["bdf"] == cell.device) else {
        return vec!["check does not have the device".to_owned()];
    };
    let verdict = if blocker.is_some() { "blocked" } else { "clear" };
    let other = blocker.as_ref().map(|(bdf, _)| *bdf).filter(|bdf| *bdf != cell.device);
    let told = json!([device["verdict"], device["blocked_by"]]);
    let is = json!([verdict, other]);
    if told == is { Vec::new() } else { vec![format!("check: told {told}, is {is}")] }
}

/// Where `check` does not say what it must of a kernel that is unusual.
pub(super) fn findings(transcript: &Transcript, check: &Value, boot: &Boot) -> Vec<String> {
    let message = |code: &str| {
        let found = items(&check["findings"]).iter().find(|one| one["code"] == code);
        found.map(|one| one["message"].as_str().unwrap_or_default())
    };
    let mut wrong = Vec::new();
    let covered: Vec<&str> = items(&check["devices"])
        .iter()
        .filter(|device| !device["group"].is_null())
        .filter_map(|device| device["bdf"].as_str())
        .filter(|bdf| boot.blocks().iter().any(|block| block.covers(crate::oracle::devid(bdf))))
        .collect();
    let warned = message("refused-from-6.6").is_some();
    if warned != (boot.kernel == "debian-6.1" && !covered.is_empty()) {
        wrong.push(format!("that a newer kernel will refuse: told {warned}"));
    }
    let relaxes = message("kernel-relaxes");
    if relaxes.is_some() != (boot.machine == Machine::Relaxed) {
        wrong.push(format!("that the kernel relaxes: told {relaxes:?}"));
    }
    if let Some(message) = relaxes {
        let devices = covered.iter().copied().filter(|bdf| !message.contains(bdf));
        let words = ["out-of-tree", "unsafe", "hard to debug"].into_iter();
        let words = words.filter(|word| !message.contains(word));
        wrong.extend(devices.chain(words).map(|what| format!("kernel-relaxes lacks {what}")));
        let text = transcript.tried("check text").stdout;
        let explained = transcript.tried("explain").stdout;
        if !text.contains("out-of-tree") {
            wrong.push(format!("check's text does not say that the kernel relaxes: {text}"));
        }
        // Lines may break anywhere.
        let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in ["directive of the platform", "behind the firmware's back"] {
            if !explained.contains(word) {
                wrong.push(format!("explain kernel-relaxes lacks {word:?}"));
            }
        }
    }
    wrong
}
