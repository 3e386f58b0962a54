//! Hosts copied with the documented script and judged elsewhere: `check --from`, `diff` and
//! `what-if` on this machine against the guests that were copied, their kernel and the oracle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use ivrs_trace::firmware::amd::builder::IvmdSpec;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::vm::{self, Firmware, Guest};

use crate::{
    oracle::{self, Block},
    shapes::{self, ATTACHES, ONE, RANGE},
    transcript::{Tried, items},
};

const COPY_A_HOST: &str = include_str!("../../../docs/copy-a-host.sh");

/// What the firmware of a real board asks for.
const AM5_DESKTOP: [Block; 3] = [
    Block { flags: 0x08, ..RANGE },
    Block { flags: 0x08, start: 0x7a2d_8000, ..RANGE },
    Block { flags: 0x08, start: 0x7b2f_6000, ..RANGE },
];
/// One function of two in a group.
const SINGLE: Block = Block { devid: 0x0039, ..ONE };

/// A guest that was copied: the tree and what was seen in the guest itself.
struct Copied {
    folder: TempDir,
}

impl Copied {
    /// Boots a guest, copies it as the documentation says, judges it there, then does `more`, the
    /// output of which is kept.
    fn of(firmware: Firmware, more: &str) -> Self {
        let script = format!(
            "mkdir /tmp/out && cd /tmp/out || exit\n\
             cat > /tmp/copy-a-host.sh <<'THE END'\n{COPY_A_HOST}\nTHE END\n\
             sh /tmp/copy-a-host.sh > host.tar || exit\n\
             ivrs-trace check --json > check\n\
             echo $? > status\n\
             ( : {more} ) > more\n\
             tar -cf - ."
        );
        let limit = Duration::from_mins(10);
        let outcome = Guest { firmware, limit, ..Guest::default() }.run(&script).unwrap();
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!((outcome.status, stderr.as_ref()), (0, ""), "copying the guest");
        let copied = Self { folder: tempfile::tempdir().unwrap() };
        let out = copied.path("out.tar");
        fs::write(&out, outcome.stdout).unwrap();
        for (archive, into) in [(out, "."), (copied.path("host.tar"), "host")] {
            fs::create_dir_all(copied.path(into)).unwrap();
            let mut tar = Command::new("tar");
            let status = tar.arg("-C").arg(copied.path(into)).arg("-xf").arg(archive).status();
            assert!(status.unwrap().success(), "unpacking the copy");
        }
        copied
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn tree(&self) -> String {
        self.path("host").display().to_string()
    }

    /// What the guest's own `check` said, with its exit status.
    fn own_check(&self) -> (i64, Value) {
        let status = self.text("status").trim().parse().unwrap();
        (status, Tried { status, stdout: &self.text("check"), stderr: "" }.json())
    }

    /// The members of each group, by the copied files.
    fn groups(&self) -> Vec<BTreeSet<String>> {
        let names = |folder: PathBuf| {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string())
        };
        let groups = self.path("host/sys/kernel/iommu_groups");
        names(groups.clone())
            .map(|id| names(groups.join(id.unwrap()).join("devices")).map(Result::unwrap).collect())
            .collect()
    }

    /// The functions that the kernel refuses with these blocks.
    fn refused(&self, blocks: &[Block]) -> BTreeSet<String> {
        let refused = |members: &BTreeSet<String>| {
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            oracle::blocker(blocks, &members).is_some()
        };
        self.groups().into_iter().filter(refused).flatten().collect()
    }
}

/// Runs the tool on this machine.
fn ivrs_trace(arguments: &[&str]) -> (i64, Value) {
    let programs = vm::programs().unwrap();
    let (_, program) = programs.iter().find(|(name, _)| *name == "ivrs-trace").unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let status = output.status.code().unwrap().into();
    let tried = Tried { status, stdout: &stdout, stderr: &stderr };
    let told = tried.json();
    assert_eq!(stderr, "", "{arguments:?}");
    (status, told)
}

/// The verdicts of `check`, without what only events show: they are evidence, and the order in which
/// the kernel tries the members of a group. In files a device's own regions come first.
fn verdicts(told: &Value) -> Vec<Value> {
    let mut devices = items(&told["devices"]).to_vec();
    for device in &mut devices {
        device.as_object_mut().unwrap().remove("blocked_by");
        for cause in device["causes"].as_array_mut().unwrap() {
            let evidence = cause.as_object_mut().unwrap().remove("evidence");
            assert!(evidence.is_some_and(|evidence| !items(&evidence).is_empty()), "{cause}");
        }
    }
    devices
}

/// The functions of `devices` for which this holds.
fn named(devices: &[Value], holds: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let found = devices.iter().filter(|device| holds(device));
    found.map(|device| device["bdf"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn a_copy_of_a_host_is_judged_as_the_host_itself() {
    let am5_desktop = Copied::of("am5-desktop".parse().unwrap(), "");
    let (own_status, own) = am5_desktop.own_check();
    let (status, told) = ivrs_trace(&["check", "--json", "--from", &am5_desktop.tree()]);
    assert_eq!((own_status, status), (1, 1));
    assert_eq!(verdicts(&told), verdicts(&own));
    for part in ["kernel", "groups", "entries"] {
        assert_eq!(told[part], own[part], "{part}");
    }
    let refused = am5_desktop.refused(&AM5_DESKTOP);
    assert_eq!(named(items(&told["devices"]), |device| device["verdict"] == "blocked"), refused);
    let clear = named(items(&told["devices"]), |device| device["verdict"] == "clear");
    assert_eq!((refused.len(), clear.len()), (17, 4));

    // The same machine with firmware for which less is asked.
    let single = Copied::of("single".parse().unwrap(), "");
    let (status, told) = ivrs_trace(&["diff", "--json", &am5_desktop.tree(), &single.tree()]);
    assert_eq!((status, &told["compared"]), (1, &json!("host")));
    assert_eq!(told["host"], json!([]), "nothing but the table differs");
    let changes: Vec<&Value> = items(&told["ivmd"]).iter().map(|block| &block["change"]).collect();
    assert_eq!(changes, ["changed", "went", "went"]);
    let freed = &refused - &single.refused(&[SINGLE]);
    let became = |device: &Value, verdict: &str| {
        device["before"]["verdict"] != device["after"]["verdict"]
            && device["after"]["verdict"] == verdict
    };
    assert_eq!(named(items(&told["devices"]), |device| became(device, "clear")), freed);
    assert_eq!(named(items(&told["devices"]), |device| !became(device, "clear")).len(), 2);
    assert_eq!(freed.len(), 15);

    let (status, told) = ivrs_trace(&["diff", "--json", &single.tree(), &single.tree()]);
    assert_eq!((status, &told["equal"]), (0, &json!(true)));
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn what_would_be_without_an_entry_is_what_is_without_it() {
    let firmware = |blocks: &[Block]| {
        blocks.iter().map(IvmdSpec::from).fold(Firmware::default(), Firmware::with)
    };
    let both = Copied::of(firmware(&[RANGE, SINGLE]), "");
    let (status, told) =
        ivrs_trace(&["what-if", "--json", "--without", "ivmd:0", "--from", &both.tree()]);
    assert_eq!(status, 0);
    let devices = items(&told["devices"]);
    let of = |effect: &str| named(devices, |device| device["effect"] == effect);

    let without = Copied::of(firmware(&[SINGLE]), ATTACHES);
    let (_, own) = without.own_check();
    let judged = |verdict: &str| named(items(&own["devices"]), |one| one["verdict"] == verdict);
    assert_eq!(of("becomes_clear"), &both.refused(&[RANGE, SINGLE]) - &without.refused(&[SINGLE]));
    assert_eq!(&of("becomes_clear") | &of("stays_clear"), judged("clear"));
    assert_eq!(of("stays_blocked"), judged("blocked"));
    assert_eq!(of("becomes_blocked"), BTreeSet::new());
    assert_eq!((of("becomes_clear").len(), of("stays_blocked").len()), (15, 2));

    // The kernel's word, but for bridges, which VFIO does not take at all.
    let more = without.text("more");
    let attaches: BTreeMap<&str, &str> =
        shapes::attaches(&more).into_iter().map(|(bdf, _, status)| (bdf, status)).collect();
    assert_eq!(attaches.len(), 21, "{more}");
    for (effect, status, tried) in
        [("becomes_clear", "0", 12), ("stays_clear", "0", 2), ("stays_blocked", "1", 2)]
    {
        let devices = of(effect);
        let told = devices.iter().map(|bdf| (bdf, attaches[bdf.as_str()]));
        let told: Vec<_> = told.filter(|(_, status)| *status != "2").collect();
        assert!(told.iter().all(|(_, found)| *found == status), "{effect}: {told:?}");
        assert_eq!(told.len(), tried, "{effect}: {told:?}");
    }
}
