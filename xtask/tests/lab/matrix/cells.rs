//! What is tried: the guests, and in each the cells, which are one attempt of one process each.

use xtask::vm::{Firmware, Guest, Iommu};

use crate::oracle::Block;

/// A guest, and what is tried in it.
pub(super) struct Boot {
    pub(super) kernel: &'static str,
    pub(super) firmware: &'static str,
    pub(super) machine: Machine,
    pub(super) runs: Vec<Run>,
}

/// What is unusual about a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    Usual,
    /// Its IOMMU does not remap interrupts.
    NoRemapping,
    /// The same, and VFIO is told to allow it.
    NoRemappingAllowed,
    /// It has no IOMMU.
    NoIommu,
    /// Its kernel is told to relax unity maps.
    Relaxed,
}

/// A start of the tool, and the attempts that it watches, one after the other.
pub(super) struct Run {
    /// Probes that the tool must do without.
    pub(super) leave_out: &'static [&'static str],
    /// Another process takes this device by this path before the tool starts.
    pub(super) held: Option<(&'static str, Path)>,
    pub(super) cells: Vec<Cell>,
}

/// One attempt.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) device: &'static str,
    pub(super) path: Path,
    pub(super) case: Case,
}

/// The ways of `vfio-attach`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Legacy,
    Status,
    Compat,
    Cdev,
}

/// What is done beside the attempt itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Nothing: the firmware decides.
    Plain,
    /// The other functions of the group stay with the host's drivers.
    HostDriver,
    /// Another process has taken this device by this path, before the eyes of the tool.
    Held(&'static str, Path),
    /// A page is mapped where interrupts go, before the device comes.
    Conflict,
    /// A page is mapped at this address once the first device is in the container; the second one
    /// is what the cell is about.
    ConflictWith(&'static str, u64),
    /// The device leaves its bus once its group is open.
    Vanish,
    /// The device has no IOMMU, and VFIO is not told to go without.
    NoIommu,
    /// The device has no IOMMU, and VFIO is told to go without.
    Noiommu,
}

use Case::{Conflict, ConflictWith, Held, HostDriver, Noiommu, Plain, Vanish};
use Path::{Cdev, Compat, Legacy, Status};

impl Path {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Status => "status",
            Self::Compat => "compat",
            Self::Cdev => "cdev",
        }
    }
}

impl Cell {
    /// What `vfio-attach` is called with.
    pub(super) fn arguments(self) -> String {
        let Self { device, path, case } = self;
        let path = path.name();
        match case {
            Plain | Held(..) => format!("{device} --path {path}"),
            HostDriver => format!("{device} --path {path} --bind-only-these"),
            Conflict => format!("{device} --path {path} --conflict"),
            ConflictWith(first, iova) => {
                format!("{first} {device} --path {path} --conflict={iova:#x}")
            }
            Vanish => format!("{device} --path {path} --vanish"),
            Case::NoIommu | Noiommu => format!("{device} --noiommu"),
        }
    }
}

impl Boot {
    pub(super) fn guest(&self) -> Guest {
        let add = |firmware: Firmware, block: &Block| firmware.with(block.into());
        let firmware = if ["none", "am5-desktop", "single", "all"].contains(&self.firmware) {
            self.firmware.parse().unwrap()
        } else {
            self.blocks().iter().fold(Firmware::default(), add)
        };
        let guest = Guest { kernel: self.kernel.to_owned(), firmware, ..Guest::default() };
        match self.machine {
            Machine::Usual => guest,
            Machine::NoRemapping => {
                Guest { interrupt_remapping: false, allow_unsafe_interrupts: Some(false), ..guest }
            }
            Machine::NoRemappingAllowed => {
                Guest { interrupt_remapping: false, allow_unsafe_interrupts: Some(true), ..guest }
            }
            Machine::NoIommu => Guest { iommu: Iommu::None, ..guest },
            Machine::Relaxed => Guest { append: "amd_iommu=relax_unity".to_owned(), ..guest },
        }
    }

    /// The IVMD blocks of its firmware, as they were put in.
    pub(super) fn blocks(&self) -> Vec<Block> {
        const RANGE: Block = Block {
            kind: 0x22,
            flags: 0x07,
            devid: 0,
            aux: 0x0fff,
            start: 0x7a2d_9000,
            length: 0x1000,
        };
        let one = |devid| Block { kind: 0x21, devid, aux: 0, ..RANGE };
        let at = |start| Block { flags: 0x08, start, ..RANGE };
        match self.firmware {
            "none" => Vec::new(),
            "am5-desktop" => vec![at(0x7a2d_9000), at(0x7a2d_8000), at(0x7b2f_6000)],
            "single" => vec![one(0x0039)],
            "all" => vec![Block { kind: 0x20, aux: 0, ..RANGE }],
            "first of a group" => vec![one(0x0038)],
            "behind the bridge" => vec![one(0x0310)],
            // The kernel skips the first, so its numbers are not the table's.
            "exclusion" => vec![Block { flags: 0x06, aux: 0xffff, ..RANGE }, at(0x7a2d_8000)],
            "ignored" => vec![Block { flags: 0x06, ..RANGE }],
            other => panic!("no firmware {other:?}"),
        }
    }

    /// Whether the kernel has the check behind a refusal, and regions that it acts on.
    pub(super) fn refuses(&self) -> bool {
        self.kernel != "debian-6.1" && self.machine != Machine::Relaxed
    }
}

/// Covered alone, one of two, behind a root port, behind the bridge, and two that a range of buses
/// does not reach.
const DEVICES: [&str; 7] = [
    "0000:00:03.0",
    "0000:00:07.0",
    "0000:00:07.1",
    "0000:01:00.0",
    "0000:03:01.0",
    "0000:21:00.0",
    "0000:22:00.0",
];

const FIRMWARES: [&str; 8] = [
    "none",
    "am5-desktop",
    "single",
    "all",
    "first of a group",
    "behind the bridge",
    "exclusion",
    "ignored",
];

const fn cell(device: &'static str, path: Path, case: Case) -> Cell {
    Cell { device, path, case }
}

fn plain(devices: &[&'static str], paths: &[Path]) -> Vec<Cell> {
    let of = |path: &Path| -> Vec<Cell> {
        devices.iter().map(|device| cell(device, *path, Plain)).collect()
    };
    paths.iter().flat_map(of).collect()
}

fn boot(kernel: &'static str, firmware: &'static str, machine: Machine, cells: Vec<Cell>) -> Boot {
    Boot { kernel, firmware, machine, runs: vec![watched(cells)] }
}

fn watched(cells: Vec<Cell>) -> Run {
    Run { leave_out: &[], held: None, cells }
}

/// Everything beside the firmware that stops an attempt on a kernel without iommufd.
const LEGACY_REASONS: [Cell; 7] = [
    cell("0000:00:07.0", Legacy, HostDriver),
    cell("0000:00:07.0", Status, HostDriver),
    cell("0000:00:07.1", Legacy, HostDriver),
    cell("0000:03:01.0", Status, HostDriver),
    cell("0000:22:00.0", Legacy, Held("0000:22:00.0", Legacy)),
    cell("0000:21:00.0", Status, Plain),
    cell("0000:21:00.0", Legacy, Vanish),
];

/// The same on debian-6.1, which has no driver for the virtio functions of this machine.
const OLD_REASONS: [Cell; 5] = [
    cell("0000:03:01.0", Legacy, HostDriver),
    cell("0000:03:02.0", Legacy, HostDriver),
    cell("0000:03:01.0", Status, HostDriver),
    cell("0000:22:00.0", Legacy, Held("0000:22:00.0", Legacy)),
    cell("0000:21:00.0", Legacy, Vanish),
];

/// The same with iommufd, where firmware does not come before.
const IOMMUFD_REASONS: [Cell; 16] = [
    cell("0000:00:07.0", Legacy, HostDriver),
    cell("0000:00:07.0", Status, HostDriver),
    cell("0000:00:07.0", Compat, HostDriver),
    cell("0000:00:07.0", Cdev, HostDriver),
    cell("0000:00:07.0", Legacy, Held("0000:00:07.1", Cdev)),
    cell("0000:00:07.0", Compat, Held("0000:00:07.1", Cdev)),
    cell("0000:00:07.0", Cdev, Held("0000:00:07.1", Cdev)),
    cell("0000:00:07.1", Cdev, Held("0000:00:07.1", Cdev)),
    cell("0000:00:07.0", Cdev, Held("0000:00:07.1", Legacy)),
    cell("0000:00:07.0", Legacy, Held("0000:00:07.1", Compat)),
    cell("0000:21:00.0", Compat, Conflict),
    cell("0000:21:00.0", Cdev, Conflict),
    cell("0000:22:00.0", Cdev, Conflict),
    cell("0000:21:00.0", Legacy, Vanish),
    cell("0000:21:00.0", Compat, Vanish),
    cell("0000:21:00.0", Cdev, Plain),
];

const RELAXED: [&str; 3] = ["0000:00:03.0", "0000:00:07.0", "0000:21:00.0"];

/// A few, with each reason once.
pub(super) fn brief() -> [Vec<Boot>; 2] {
    let few = ["0000:00:03.0", "0000:03:01.0", "0000:21:00.0"];
    let mut desktop = plain(&few, &[Legacy]);
    desktop.extend(LEGACY_REASONS);
    let mut single = plain(&["0000:00:07.0", "0000:21:00.0"], &[Legacy, Compat, Cdev]);
    single.extend([
        cell("0000:00:07.0", Compat, HostDriver),
        cell("0000:00:07.0", Cdev, HostDriver),
        cell("0000:21:00.0", Cdev, Held("0000:21:00.0", Legacy)),
        cell("0000:21:00.0", Compat, Conflict),
        cell("0000:21:00.0", Cdev, Conflict),
        cell("0000:21:00.0", Compat, Vanish),
    ]);
    [
        vec![
            boot("debian-6.12", "am5-desktop", Machine::Usual, desktop),
            boot("debian-6.1", "am5-desktop", Machine::Usual, old(&few)),
            boot(
                "iommufd-relax",
                "am5-desktop",
                Machine::Relaxed,
                plain(&RELAXED, &[Legacy, Cdev]),
            ),
        ],
        vec![
            boot("iommufd", "single", Machine::Usual, single),
            boot("iommufd", "am5-desktop", Machine::NoRemapping, unmapped_interrupts()),
            without_iommu("iommufd", true),
        ],
    ]
}

/// All cells.
pub(super) fn full() -> Vec<Boot> {
    let mut boots = Vec::new();
    for firmware in FIRMWARES {
        let mut cells = plain(&DEVICES, &[Legacy]);
        if ["none", "am5-desktop", "single"].contains(&firmware) {
            cells.extend(LEGACY_REASONS);
        }
        boots.push(boot("debian-6.12", firmware, Machine::Usual, cells));

        let mut cells = plain(&DEVICES, &[Compat, Cdev]);
        match firmware {
            "none" => cells.extend(IOMMUFD_REASONS),
            "am5-desktop" | "single" => {
                cells.extend(plain(&DEVICES, &[Legacy, Status]));
                cells.extend(IOMMUFD_REASONS.into_iter().take(4));
            }
            _ => {}
        }
        let mut tried = boot("iommufd", firmware, Machine::Usual, cells);
        if firmware == "none" {
            tried.runs.push(Run {
                leave_out: &[],
                held: Some(("0000:00:07.1", Cdev)),
                cells: plain(&["0000:00:07.0"], &[Legacy, Cdev]),
            });
        }
        boots.push(tried);
    }
    for firmware in ["none", "am5-desktop", "single", "all", "behind the bridge"] {
        let mut cells = plain(&DEVICES, &[Legacy]);
        if firmware == "am5-desktop" {
            cells.extend(LEGACY_REASONS);
        }
        boots.push(boot("debian-newest", firmware, Machine::Usual, cells));
    }
    for firmware in ["none", "am5-desktop", "single"] {
        let cells = if firmware == "am5-desktop" {
            let mut cells = old(&DEVICES);
            cells.extend(OLD_REASONS);
            cells
        } else {
            plain(&DEVICES, &[Legacy])
        };
        boots.push(boot("debian-6.1", firmware, Machine::Usual, cells));
    }
    for firmware in ["am5-desktop", "all"] {
        let cells = plain(&DEVICES, &[Legacy, Compat, Cdev]);
        boots.push(boot("iommufd-relax", firmware, Machine::Relaxed, cells));
    }
    boots.push(boot(
        "iommufd-relax",
        "am5-desktop",
        Machine::Usual,
        plain(&RELAXED, &[Legacy, Compat, Cdev]),
    ));
    for firmware in ["none", "am5-desktop"] {
        let few = ["0000:00:03.0", "0000:21:00.0"];
        for kernel in ["debian-6.1", "debian-6.12", "debian-newest"] {
            boots.push(boot(kernel, firmware, Machine::NoRemapping, plain(&few, &[Legacy])));
        }
        boots.push(boot("iommufd", firmware, Machine::NoRemapping, unmapped_interrupts()));
    }
    boots.push(boot("iommufd", "am5-desktop", Machine::NoRemappingAllowed, unmapped_interrupts()));
    boots.push(without_iommu("debian-6.12", false));
    boots.push(without_iommu("iommufd", true));
    boots.push(without_hooks());
    boots
}

/// On a kernel that does not refuse the firmware's devices, its regions meet what is mapped.
fn old(devices: &[&'static str]) -> Vec<Cell> {
    let mut cells = plain(devices, &[Legacy]);
    cells.push(cell("0000:00:03.0", Legacy, ConflictWith("0000:21:00.0", 0x7a2d_9000)));
    cells
}

fn unmapped_interrupts() -> Vec<Cell> {
    plain(&["0000:00:03.0", "0000:00:07.0", "0000:21:00.0"], &[Legacy, Compat, Cdev])
}

fn without_iommu(kernel: &'static str, noiommu: bool) -> Boot {
    let mut runs = vec![watched(vec![
        cell("0000:00:03.0", Legacy, Case::NoIommu),
        cell("0000:22:00.0", Legacy, Case::NoIommu),
    ])];
    if noiommu {
        runs.push(watched(vec![
            cell("0000:00:03.0", Legacy, Noiommu),
            cell("0000:22:00.0", Legacy, Noiommu),
        ]));
    }
    Boot { kernel, firmware: "none", machine: Machine::NoIommu, runs }
}

/// Each probe that a verdict rests on is taken away, and then several.
pub(super) fn without_hooks() -> Boot {
    const LEFT_OUT: [&[&str]; 8] = [
        &["amd_iommu_get_resv_regions"],
        &["__iommu_device_set_domain"],
        &["iommu_group_claim_dma_owner"],
        &["_dev_warn"],
        &["console"],
        &["trampolines"],
        &["__iommu_device_set_domain", "_dev_warn"],
        &["__iommu_device_set_domain", "_dev_warn", "console"],
    ];
    let devices = ["0000:00:03.0", "0000:00:07.0", "0000:21:00.0"];
    let run = |leave_out: &&'static [&'static str]| Run {
        leave_out,
        held: None,
        cells: plain(&devices, &[Legacy]),
    };
    Boot {
        kernel: "debian-6.12",
        firmware: "am5-desktop",
        machine: Machine::Usual,
        runs: LEFT_OUT.iter().map(run).collect(),
    }
}
