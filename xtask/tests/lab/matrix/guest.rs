//! What runs in a guest for its cells, and what it leaves to be read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::cells::{Boot, Case, Machine, Path, Run};
use crate::transcript::Transcript;

/// Where the cells' output goes while the tool writes to standard output. The functions are used
/// by the processes that the tool watches, and by the script itself.
const FUNCTIONS: &str = r#"
cat > /tmp/lab.sh <<'END'
section() { printf '\n=== %s\n' "$*"; }
# Another process takes a device and keeps it.
hold() {
    sh -c 'echo $$ > /tmp/holder; exec vfio-attach "$@" --hold 600' sh "$@" > /tmp/held 2>&1 &
    for wait in $(seq 100); do
        grep -qE '(GET_DEVICE_FD|ATTACH_IOMMUFD_PT) = [0-9]' /tmp/held && return
        sleep 0.1
    done
    echo "not held: $(cat /tmp/held)"
}
let_go() {
    [ -e /tmp/holder ] || return
    kill $(cat /tmp/holder)
    while [ -e /proc/$(cat /tmp/holder)/exe ]; do sleep 0.1; done
    rm /tmp/holder
}
# Everything goes back to the host's drivers, as it was.
hand_back() {
    [ -e /sys/bus/pci/devices/$1 ] || echo 1 > /sys/bus/pci/rescan
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat $device/driver_override)" = "(null)" ] && continue
        name=${device##*/}
        echo > $device/driver_override
        [ ! -e $device/driver ] || echo $name > $device/driver/unbind
        echo $name > /sys/bus/pci/drivers_probe
    done
}
# NUMBER BDF ARGUMENT... : one attempt, and what is to be known of it.
attempt() {
    section "cell $1"; bdf=$2; echo "lab: cell $1" > /dev/kmsg; shift 2
    group=$(readlink /sys/bus/pci/devices/$bdf/iommu_group)
    group=${group##*/}
    sh -c 'echo $$ > /tmp/pid; exec vfio-attach "$@"' sh "$@" > /tmp/calls 2>&1
    echo "status $?"
    echo "pid $(cat /tmp/pid)"
    # Without an IOMMU the group comes with the binding.
    [ -n "$group" ] || group=$(readlink /sys/bus/pci/devices/$bdf/iommu_group)
    group=${group##*/}
    echo "group $group"
    [ ! -e /tmp/holder ] || echo "holder $(cat /tmp/holder)"
    [ -e /sys/bus/pci/devices/$bdf ] || echo "gone"
    [ -z "$group" ] || for member in /sys/kernel/iommu_groups/$group/devices/*; do
        [ -e $member ] || continue
        driver=$(readlink $member/driver)
        echo "member ${member##*/} ${driver##*/}"
    done
    sed 's/^/call /' /tmp/calls
}
END
. /tmp/lab.sh
"#;

/// The script of a guest.
pub(super) fn script(boot: &Boot) -> String {
    let mut script = FUNCTIONS.to_owned();
    script.push_str("try check ivrs-trace check --json\n");
    if boot.machine == Machine::Relaxed {
        script.push_str("try 'check text' ivrs-trace check\n");
        script.push_str("try explain ivrs-trace explain kernel-relaxes\n");
    }
    if boot.machine == Machine::NoIommu {
        // Nothing but the module's own function tells that it does not take a device, and that is
        // watched a moment after the module has come.
        script.push_str("modprobe vfio-pci\n");
    }
    let mut number = 0;
    for (index, run) in boot.runs.iter().enumerate() {
        if run.cells.iter().any(|cell| cell.case == Case::Noiommu) {
            script.push_str("modprobe -r vfio-pci; modprobe vfio enable_unsafe_noiommu_mode=1\n");
            script.push_str("echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode\n");
        }
        if let Some((device, path)) = run.held {
            script.push_str(&hold(device, path));
        }
        script.push_str("cat > /tmp/cells.sh <<'END'\n. /tmp/lab.sh\nexec > /tmp/cells 2>&1\n");
        for cell in &run.cells {
            if let Case::Held(device, path) = cell.case {
                script.push_str(&hold(device, path));
            }
            let (device, arguments) = (cell.device, cell.arguments());
            writeln!(script, "attempt {number} {device} {arguments}").unwrap();
            if run.held.is_none() {
                writeln!(script, "let_go; hand_back {device}").unwrap();
            }
            number += 1;
        }
        script.push_str("section over\nEND\n");
        let options: Vec<String> =
            run.leave_out.iter().map(|what| format!(" --leave-out {what}")).collect();
        let options = options.concat();
        writeln!(script, "try 'run {index}' ivrs-trace run --json{options} -- sh /tmp/cells.sh")
            .unwrap();
        script.push_str("cat /tmp/cells\nlet_go; hand_back 0000:00:03.0\n");
    }
    script
}

fn hold(device: &str, path: Path) -> String {
    format!("hold {device} --path {}\n", path.name())
}

/// What the kernel did in one cell: from its calls, its files and its log.
pub(super) struct Seen<'a> {
    pub(super) status: i64,
    pub(super) pid: u64,
    pub(super) group: Option<u64>,
    /// The process that held a device of the group.
    pub(super) holder: Option<u64>,
    /// The device was not there any more.
    pub(super) gone: bool,
    /// The members of the group and their drivers, after the attempt.
    pub(super) members: BTreeMap<&'a str, &'a str>,
    /// The lines of `vfio-attach`.
    pub(super) calls: Vec<&'a str>,
    /// What the kernel logged meanwhile.
    pub(super) log: Vec<&'a str>,
}

impl<'a> Seen<'a> {
    /// The last call, which tells the result.
    pub(super) fn last_call(&self) -> &'a str {
        self.calls.last().copied().unwrap_or_default()
    }

    pub(super) fn logged(&self, text: &str) -> Option<&'a str> {
        self.log.iter().find(|line| line.contains(text)).copied()
    }
}

/// What the script wrote of cell `number`.
pub(super) fn seen(transcript: &Transcript, number: usize) -> Seen<'_> {
    let section = transcript.section(&format!("cell {number}"));
    let mut seen = Seen {
        status: -1,
        pid: 0,
        group: None,
        holder: None,
        gone: false,
        members: BTreeMap::new(),
        calls: Vec::new(),
        log: log_of(&transcript.kernel_log, number),
    };
    for line in section.lines() {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "status" => seen.status = rest.parse().unwrap(),
            "pid" => seen.pid = rest.parse().unwrap(),
            "group" => seen.group = rest.parse().ok(),
            "holder" => seen.holder = rest.parse().ok(),
            "gone" => seen.gone = true,
            "member" => {
                let (bdf, driver) = rest.split_once(' ').unwrap();
                seen.members.insert(bdf, driver);
            }
            "call" => seen.calls.push(rest),
            "" => {}
            _ => panic!("cell {number}: the script wrote {line:?}"),
        }
    }
    seen
}

/// The lines of the kernel's log from a cell's mark to the next one.
fn log_of(log: &str, number: usize) -> Vec<&str> {
    let marked = |line: &str| {
        line.split_once("lab: cell ").and_then(|(_, number)| number.trim().parse::<usize>().ok())
    };
    let from = log.lines().skip_while(move |line| marked(line) != Some(number)).skip(1);
    from.take_while(|line| marked(line).is_none()).collect()
}

/// The tool's document on a run.
pub(super) fn told(transcript: &Transcript, index: usize, run: &Run) -> Value {
    let tried = transcript.tried(&format!("run {index}"));
    assert_eq!(tried.status, 0, "run {index}, {} cells: {}", run.cells.len(), tried.stderr);
    tried.json()
}
