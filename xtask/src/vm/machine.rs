//! The machine that QEMU emulates: its PCI functions, its IOMMU, and the IVRS or DMAR that QEMU
//! itself makes for it.
//!
//! All its processors run on one thread of the host: with a thread for each, the code translator
//! of QEMU 7.2 lets one processor run stale code while another patches the kernel's text, which
//! tracing does all the time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use ivrs_trace::firmware::{Dmar, Ivrs};

use super::qemu::Process;
use crate::files;
use crate::setup::{MACHINE_TABLE, Qemu, digest};

/// The machine's IOMMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Iommu {
    /// AMD's, which the IVRS describes
    #[default]
    Amd,
    /// Intel's, which the DMAR describes
    Intel,
    /// None
    None,
}

/// The PCI functions, one device an entry. What comes after another on the same bus relies on
/// it. `bus=` is always written: once there is a pxb-pcie, QEMU may put a device without it there.
const DEVICES: &[&str] = &[
    // 00:03.0 to 00:06.0: single functions, each in a group of its own.
    "e1000e,bus=pcie.0,addr=03.0",
    "virtio-net-pci,bus=pcie.0,addr=04.0",
    "nvme,bus=pcie.0,addr=05.0,serial=lab,drive=disk",
    "qemu-xhci,bus=pcie.0,addr=06.0",
    // 00:07.0 and 00:07.1: two functions that share a group. (Two e1000e would not: the kernel
    // takes their chip's functions for isolated.)
    "virtio-net-pci,bus=pcie.0,addr=07.0,multifunction=on",
    "virtio-net-pci,bus=pcie.0,addr=07.1",
    // 01:00.0 behind a root port.
    "pcie-root-port,bus=pcie.0,addr=08.0,id=port1,chassis=1,slot=1",
    "e1000e,bus=port1",
    // 02:00.0 is a PCIe-to-PCI bridge; 03:01.0 and 03:02.0 behind it share its group.
    "pcie-root-port,bus=pcie.0,addr=09.0,id=port2,chassis=2,slot=2",
    "pcie-pci-bridge,bus=port2,id=conventional",
    "e1000,bus=conventional,addr=01.0",
    "rtl8139,bus=conventional,addr=02.0",
    // 21:00.0 and 22:00.0: bus numbers that a devid range up to 0x0fff does not reach.
    "pxb-pcie,bus=pcie.0,addr=0a.0,id=far,bus_nr=0x20",
    "pcie-root-port,bus=far,id=port3,chassis=3,slot=3",
    "e1000e,bus=port3",
    "pcie-root-port,bus=far,id=port4,chassis=4,slot=4",
    "virtio-net-pci,bus=port4",
];

/// How long QEMU's firmware may take to build its tables (it takes about one second).
const TABLES_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub(super) struct Board {
    pub(super) iommu: Iommu,
    pub(super) interrupt_remapping: bool,
    pub(super) cpus: u32,
}

impl Iommu {
    pub(super) fn table(self) -> &'static str {
        if self == Self::Intel { "DMAR" } else { "IVRS" }
    }

    pub(super) fn kernel_argument(self) -> Option<&'static str> {
        match self {
            // The kernel logs every block of the IVRS.
            Self::Amd => Some("amd_iommu_dump"),
            Self::Intel => Some("intel_iommu=on"),
            Self::None => None,
        }
    }
}

/// QEMU's arguments for the machine without memory, kernel and ports.
fn arguments(board: Board) -> Vec<String> {
    let fixed = "-nodefaults -no-user-config -no-reboot -display none -monitor none \
                 -machine q35,kernel-irqchip=split -accel tcg,thread=single -cpu max \
                 -blockdev null-co,node-name=disk,size=67108864,read-zeroes=on";
    let mut arguments: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    arguments.extend(["-smp".to_owned(), board.cpus.to_string()]);
    let model = match board.iommu {
        Iommu::Amd => Some("amd-iommu"),
        Iommu::Intel => Some("intel-iommu"),
        Iommu::None => None,
    };
    let remapping = if board.interrupt_remapping { "on" } else { "off" };
    let iommu = model.map(|model| format!("{model},intremap={remapping},device-iotlb=on"));
    // The IOMMU comes first: devices look it up when they are made.
    let devices = DEVICES.iter().map(|device| (*device).to_owned());
    for device in iommu.into_iter().chain(devices) {
        arguments.extend(["-device".to_owned(), device]);
    }
    arguments
}

pub(super) fn command(qemu: &Qemu, board: Board) -> Command {
    let mut command = qemu.command();
    command.args(arguments(board)).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The table that QEMU itself makes for the machine's IOMMU, which there must be: the IVRS of AMD's,
/// the DMAR of Intel's.
///
/// It depends on the machine and on the version of QEMU, so it is taken from a start of the
/// machine without a kernel and kept in the cache.
pub(super) fn own_table(qemu: &Qemu, board: Board) -> Result<Vec<u8>> {
    // The number of processors is not in it.
    let board = Board { cpus: 1, ..board };
    let arguments = arguments(board);
    let parts = arguments.iter().chain([&qemu.version]).map(String::as_bytes);
    let folder = MACHINE_TABLE.made(&digest(8, parts), |folder| {
        let table = read_own_table(qemu, board, folder)?;
        files::write(folder.join("table.aml"), table)
    })?;
    files::read(folder.join("table.aml"))
}

/// Starts the machine with its memory in a file of `folder` and reads the table from there once
/// the firmware has written it.
fn read_own_table(qemu: &Qemu, board: Board, folder: &Path) -> Result<Vec<u8>> {
    // Enough for the firmware; small, because it is searched.
    const MEBIBYTES: usize = 64;
    let memory = folder.join("memory");
    let mut command = command(qemu, board);
    command.args(["-m", &format!("{MEBIBYTES}M"), "-machine", "memory-backend=ram", "-object"]);
    command.arg(format!(
        "memory-backend-file,id=ram,share=on,size={MEBIBYTES}M,mem-path={}",
        memory.display()
    ));
    let mut process = Process::start(command, &folder.join("qemu.log"))?;
    let started = Instant::now();
    let table = loop {
        if let Ok(bytes) = fs::read(&memory)
            && let Some(table) = find_table(&bytes, board.iommu)
        {
            break table;
        }
        if let Some(status) = process.ended()? {
            bail!("QEMU ended early ({status}): {}", process.complaint());
        }
        if started.elapsed() > TABLES_LIMIT {
            bail!("QEMU's firmware made no table of the IOMMU within {} s", TABLES_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    };
    drop(process);
    files::remove(&memory)?;
    Ok(table)
}

/// The IOMMU's table with a right checksum in a copy of the machine's memory.
///
/// The firmware finishes the checksum last, so a table that it is still writing is not taken.
fn find_table(memory: &[u8], iommu: Iommu) -> Option<Vec<u8>> {
    memchr::memmem::find_iter(memory, iommu.table()).find_map(|at| {
        let rest = memory.get(at..)?;
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?);
        let table = rest.get(..usize::try_from(length).ok()?)?;
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let has_units = match iommu {
            Iommu::Intel => !Dmar::parse(table).ok()?.drhd.is_empty(),
            Iommu::Amd | Iommu::None => !Ivrs::parse(table).ok()?.ivhd.is_empty(),
        };
        (sum == 0 && has_units).then(|| table.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use ivrs_trace::{
        firmware::{
            amd::builder::{IvhdSpec, IvrsBuilder},
            intel::builder::DmarBuilder,
        },
        pci::Segment,
    };

    use super::*;

    #[test]
    fn the_table_is_found_at_any_address_and_only_when_it_is_whole() {
        let table = IvrsBuilder::new().ivhd(IvhdSpec::default()).build().unwrap();
        let mut broken = table.clone();
        broken[9] ^= 1;
        let mut memory = b"IVRS is a word too".to_vec();
        memory.extend(&broken);
        assert_eq!(find_table(&memory, Iommu::Amd), None);
        memory.extend(b"odd");
        memory.extend(&table);
        memory.extend([0; 7]);
        assert_eq!(find_table(&memory, Iommu::Amd), Some(table));
        assert_eq!(find_table(&memory, Iommu::Intel), None);
        let dmar = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[]).build().unwrap();
        memory.extend(&dmar);
        assert_eq!(find_table(&memory, Iommu::Intel), Some(dmar));
    }

    #[test]
    fn every_device_says_which_bus_it_is_on() {
        for device in DEVICES {
            assert!(device.contains(",bus="), "{device}");
        }
    }
}
