//! Recordings made in a guest and read on this machine: the same output, byte for byte.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use xtask::vm::{self, Firmware, Guest};

/// What a guest does and prints, and the recordings of it. The last one fills its disk.
const SCRIPT: &str = r#"
mkdir /tmp/out && cd /tmp/out || exit
attach() { ivrs-trace "$@" -- sh -c 'vfio-attach 00:03.0 > /dev/null 2>&1'; }
# What a run explains and what the tool says besides.
apart() { grep -v '^ivrs-trace: ' $1.all > $1.live; grep '^ivrs-trace: ' $1.all > $1.err; }
attach run -o run.ivt > run.out 2> run.all; echo $? > run.status; apart run
attach run --json -o json.ivt > json.live 2> json.err
attach record -o record.ivt > record.live 2> record.err; echo $? > record.status
ivrs-trace check > check.live 2> check.err; echo $? > check.status
ivrs-trace check --json > check-json.live 2> check-json.err
ivrs-trace record --snapshot-only -o snapshot.ivt > /dev/null 2> snapshot.err
for reader in kernel vendor forum; do
    ivrs-trace report --for $reader --from run.ivt > $reader.live 2> $reader.err
done
ivrs-trace record --max-size 1M -o rotated.ivt -- sh -c '
    until [ -e rotated.ivt.1 ] || [ $((n += 1)) -gt 5000 ]; do
        cat /sys/kernel/iommu_groups/*/reserved_regions
    done > /dev/null
    vfio-attach 00:03.0 > /dev/null 2>&1' 2> rotated.err; echo $? > rotated.status
ivrs-trace events -o events.ivt > events.live 2> events.err & pid=$!
for second in 1 2 3 4 5 6 7 8 9 10; do [ -s events.live ] && break; sleep 1; done
vfio-attach 00:04.0 > /dev/null 2>&1
sleep 1; kill -INT $pid; wait $pid; echo $? > events.status
mkdir small && mount -t tmpfs -o size=12k none small
attach run -o small/full.ivt > full.out 2> full.all; echo $? > full.status; apart full
cp small/full.ivt . && umount small && rmdir small
tar -cf - .
"#;

struct Recorded(TempDir);

impl Recorded {
    fn new() -> Self {
        let limit = Duration::from_mins(10);
        let firmware: Firmware = "am5-desktop".parse().unwrap();
        let guest = Guest { firmware, limit, ..Guest::default() };
        let outcome = guest.run(SCRIPT).unwrap();
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!((outcome.status, stderr.as_ref()), (0, ""), "recording in the guest");
        let recorded = Self(tempfile::tempdir().unwrap());
        let archive = recorded.path("out.tar");
        fs::write(&archive, outcome.stdout).unwrap();
        let mut tar = Command::new("tar");
        let status = tar.arg("-C").arg(recorded.0.path()).arg("-xf").arg(archive).status();
        assert!(status.unwrap().success(), "unpacking the recordings");
        recorded
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs the program of the guest on this machine.
    fn read(&self, args: &[&str], recording: &str) -> Output {
        let programs = vm::programs().unwrap();
        let (_, program) = programs.iter().find(|(name, _)| *name == "ivrs-trace").unwrap();
        let mut command = Command::new(program);
        command.args(args).arg("--from").arg(self.path(recording)).output().unwrap()
    }

    /// Holds that a command says of a recording what it said in the guest.
    fn same(&self, args: &[&str], recording: &str, live: &str) {
        let here = self.read(args, recording);
        let (here, live) = (String::from_utf8(here.stdout).unwrap(), self.text(live));
        assert_eq!(here, live, "{args:?} of {recording}");
        assert!(!live.is_empty());
    }
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn recordings_say_here_what_was_said_in_the_guest() {
    let recorded = Recorded::new();
    recorded.same(&["run"], "run.ivt", "run.live");
    recorded.same(&["run", "--json"], "json.ivt", "json.live");
    recorded.same(&["check"], "snapshot.ivt", "check.live");
    recorded.same(&["check", "--json"], "snapshot.ivt", "check-json.live");
    recorded.same(&["events"], "events.ivt", "events.live");
    assert!(recorded.text("run.live").starts_with("BLOCKED by firmware: 0000:00:03.0"));
    assert_eq!(recorded.text("run.out"), "", "standard output is the command's");
    assert!(recorded.text("events.live").contains("__iommu_device_set_domain(0000:00:04.0"));

    let status = |name: &str| recorded.text(&format!("{name}.status")).trim().to_owned();
    // The status of `record` and `run` is the command's, which was refused; `check` finds the same.
    for (name, expected) in [("run", "1"), ("record", "1"), ("check", "1"), ("events", "0")] {
        assert_eq!(status(name), expected, "{name}");
    }
    assert_eq!(recorded.text("record.live"), "");
    let record = recorded.read(&["run"], "record.ivt");
    assert!(String::from_utf8(record.stdout).unwrap().starts_with("BLOCKED by firmware"));
    for name in ["run", "json", "record", "snapshot", "events"] {
        let said = recorded.text(&format!("{name}.err"));
        assert!(said.contains(&format!("{name}.ivt: ")) && !said.contains("could not"), "{said}");
    }

    for reader in ["kernel", "vendor", "forum"] {
        recorded.same(&["report", "--for", reader], "run.ivt", &format!("{reader}.live"));
    }

    assert_eq!(status("rotated"), "1");
    for name in ["rotated.ivt.1", "rotated.ivt"] {
        assert!(fs::metadata(recorded.path(name)).unwrap().len() <= 1 << 20, "{name}");
        // Each has the host, and so opens by itself.
        recorded.same(&["check"], name, "check.live");
    }
    // The second has the first events again, with which its host was read, and then goes on where
    // the first ended; the attempt is in it.
    let numbers = |name| -> Vec<u64> {
        let events = recorded.read(&["events", "--json"], name);
        let number = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event.get("number").unwrap().as_u64().unwrap()
        };
        String::from_utf8(events.stdout).unwrap().lines().map(number).collect()
    };
    let gap = |numbers: &[u64]| numbers.iter().copied().zip(0..).find(|(number, at)| number != at);
    let (before, after) = (numbers("rotated.ivt.1"), numbers("rotated.ivt"));
    assert_eq!(gap(&before), None);
    assert_eq!(gap(&after).map(|(number, _)| number), before.last().map(|last| last + 1));
    let run = recorded.read(&["run"], "rotated.ivt");
    assert!(String::from_utf8(run.stdout).unwrap().starts_with("BLOCKED by firmware"));
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.contains("it goes on from an earlier file"), "{said}");

    // The disk was full: it was told, the answer came all the same, and what is there opens.
    let said = recorded.text("full.err");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("the trace goes on without it"), "{said}");
    assert_eq!(status("full"), "1");
    assert!(recorded.text("full.live").starts_with("BLOCKED by firmware: 0000:00:03.0"));
    let full = recorded.read(&["check"], "full.ivt");
    let said = String::from_utf8(full.stderr).unwrap();
    assert!(said.contains("full.ivt: "), "{said}");
    assert!(matches!(full.status.code(), Some(1 | 3)), "{:?}", full.status);
}
