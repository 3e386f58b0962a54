//! The firmware that the guest's kernel sees: which IVRS or DMAR it gets, by name, from blocks on the
//! command line or from a file, and how it is made to fit the emulated machine.
//!
//! The kernel uses a table from the initrd in place of the firmware's if signature, OEM id and
//! OEM table id are the same and the OEM revision is higher (`drivers/acpi/tables.c`,
//! `acpi_table_initrd_override`). The IVHD blocks must describe the machine that there is, or
//! nothing works; so they are always the machine's own, except where a file has them too.

use std::{convert::Infallible, fs, path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use ivrs_trace::firmware::amd::builder::{IvmdSpec, IvrsBuilder};
use ivrs_trace::firmware::amd::ivrs::{IvInfo, IvhdKind, IvmdFlags, IvmdKind, Ivrs};
use ivrs_trace::firmware::intel::{
    builder::{DmarBuilder, ScopeSpec},
    dmar::{Dmar, ScopeKind},
};
use ivrs_trace::pci::{Devid, Segment};

/// The firmware of a guest: a named or a given table, and blocks to add to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firmware {
    source: Source,
    added: Vec<IvmdSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// QEMU's own table with IVMD blocks, and whether `IVinfo` has the bit for pre-boot DMA protection.
    Ivmd(Vec<IvmdSpec>, bool),
    /// QEMU's own table with RMRRs, each of one page and for one device scope.
    Rmrr(Vec<(u64, ScopeSpec)>),
    File(PathBuf),
}

impl Default for Source {
    fn default() -> Self {
        Self::Ivmd(Vec::new(), false)
    }
}

/// A table to put in, and what the user should know about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Override {
    /// The whole table, fit for the kernel's override.
    pub(super) table: Vec<u8>,
    /// How it differs from the table that was asked for.
    pub(super) note: Option<String>,
}

/// `none`, `am5-desktop`, `single`, `all`, `rmrr-single` and `rmrr` are names; everything else is a
/// file.
impl FromStr for Firmware {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let range = IvmdSpec {
            kind: IvmdKind::Range,
            flags: IvmdFlags(0x08),
            devid: Devid(0x0000),
            aux: 0x0fff,
            segment: Segment(0),
            start: 0x7a2d_9000,
            length: 0x1000,
        };
        let at = |start| IvmdSpec { start, ..range };
        let one = IvmdSpec { flags: IvmdFlags(0x07), aux: 0, ..range };
        let function = |devid| ScopeSpec::function(Devid(devid));
        let single = (0x7a2d_9000, function(0x0018));
        let source = match text {
            "none" => Source::default(),
            // What boards with AM5 show: three exclusion ranges of a page each for all devices on
            // buses 0 to 0x0f, neighbours or not, in no order.
            "am5-desktop" => Source::Ivmd(vec![range, at(0x7a2d_8000), at(0x7b2f_6000)], true),
            // 00:07.1: attaching its neighbour 00:07.0 is refused because of it.
            "single" => Source::Ivmd(
                vec![IvmdSpec { kind: IvmdKind::Device, devid: Devid(0x0039), ..one }],
                false,
            ),
            "all" => Source::Ivmd(vec![IvmdSpec { kind: IvmdKind::All, ..one }], false),
            "rmrr-single" => Source::Rmrr(vec![single]),
            "rmrr" => Source::Rmrr(vec![
                single,
                // A USB controller, whose map the kernel lets VFIO drop.
                (0x7a2d_8000, function(0x0030)),
                // 01:00.0, by the way over the port above it.
                (0x7b2f_6000, function(0x0040).below(0, 0)),
                // A port and all that is below it.
                (0x7b2f_8000, function(0x0048).of_kind(ScopeKind::Bridge)),
            ]),
            file => Source::File(file.into()),
        };
        Ok(Self { source, added: Vec::new() })
    }
}

impl Firmware {
    /// The table of a file, fitted to the machine where it is another machine's.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), added: Vec::new() }
    }

    /// With one more IVMD block at the end.
    #[must_use]
    pub fn with(mut self, block: IvmdSpec) -> Self {
        self.added.push(block);
        self
    }

    pub(super) fn is_own(&self) -> bool {
        self.source == Source::default() && self.added.is_empty()
    }

    pub(super) fn table(&self, own: &Ivrs) -> Result<Override> {
        let (blocks, remapped) = match &self.source {
            Source::Ivmd(blocks, remapped) => (blocks, *remapped),
            Source::Rmrr(_) => {
                bail!("an RMRR is an entry of Intel's DMAR: choose --iommu intel as well")
            }
            Source::File(path) => {
                let bytes = fs::read(path).with_context(|| {
                    format!(
                        "cannot read the firmware {} (known names: none, am5-desktop, single, all, \
                         rmrr-single, rmrr)",
                        path.display()
                    )
                })?;
                let made = self.fit_file(own, &bytes);
                return made.with_context(|| format!("firmware {}", path.display()));
            }
        };
        let base = like(own).ivinfo(ivinfo(own, remapped)).ivhd_blocks_of(own);
        let builder = blocks.iter().chain(&self.added).copied().fold(base, IvrsBuilder::ivmd);
        Ok(Override { table: builder.build()?, note: None })
    }

    /// The DMAR to put in place of the machine's `own`: its IOMMU, with RMRRs behind it.
    pub(super) fn dmar(&self, own: &Dmar) -> Result<Override> {
        let Source::Rmrr(rmrrs) = &self.source else {
            bail!(
                "a guest with Intel's IOMMU has a DMAR: choose the firmware none, rmrr-single or rmrr"
            )
        };
        ensure!(self.added.is_empty(), "an IVMD block is an entry of AMD's IVRS, not of a DMAR");
        let base = DmarBuilder::like(own).oem_revision(own.header.oem_revision.saturating_add(1));
        let made = rmrrs.iter().cloned().fold(base, |table, (page, scope)| {
            table.rmrr(Segment(0), page, page + 0xfff, &[scope])
        });
        Ok(Override { table: made.build()?, note: None })
    }

    fn fit_file(&self, own: &Ivrs, bytes: &[u8]) -> Result<Override> {
        let given = Ivrs::parse(bytes).context("it is not an IVRS table")?;
        let fits = own.ivhd.iter().any(|own| {
            given.ivhd.iter().any(|ivhd| {
                (ivhd.segment, ivhd.devid, ivhd.mmio) == (own.segment, own.devid, own.mmio)
            })
        });
        if fits {
            ensure!(
                self.added.is_empty(),
                "this is the machine's own table, which goes in unchanged: no block can be added to it"
            );
            let mut table = given.bytes().to_vec();
            take_identity(&mut table, own)?;
            return Ok(Override { table, note: None });
        }

        let base = like(own).ivinfo(ivinfo(own, given.ivinfo.dma_remap()));
        let mut builder = base.ivhd_blocks_of(own);
        let mut moved = 0_usize;
        let others = given.blocks.iter().filter(|block| IvhdKind::from_code(block.kind).is_none());
        for block in others {
            let end = block.offset.saturating_add(usize::from(block.length));
            let bytes = given.bytes().get(block.offset..end);
            builder = builder.raw(bytes.context("a block reaches beyond the table")?.to_vec());
            moved += 1;
        }
        let builder = self.added.iter().copied().fold(builder, IvrsBuilder::ivmd);
        let note = format!(
            "its IVHD blocks describe IOMMUs that the emulated machine does not have: \
             the machine's own IVHD is used, with the table's {moved} other blocks behind it"
        );
        Ok(Override { table: builder.build()?, note: Some(note) })
    }
}

/// The machine's own `IVinfo`, with the bit for pre-boot DMA protection if the table to be imitated
/// has it: no real table with IVMD blocks was found without it.
fn ivinfo(own: &Ivrs, dma_remap: bool) -> u32 {
    if dma_remap { own.ivinfo.0 | IvInfo::DMA_REMAP } else { own.ivinfo.0 }
}

fn like(own: &Ivrs) -> IvrsBuilder {
    IvrsBuilder::like(own).oem_revision(own.header.oem_revision.saturating_add(1))
}

/// Writes into `table` what the kernel compares before it uses it in place of `own`, and the
/// checksum that follows from that.
fn take_identity(table: &mut [u8], own: &Ivrs) -> Result<()> {
    // OEM id, OEM table id and OEM revision follow each other in the ACPI header.
    let revision = own.header.oem_revision.saturating_add(1).to_le_bytes();
    let identity =
        own.header.oem_id.iter().chain(&own.header.oem_table_id).chain(&revision).copied();
    let fields = table.get_mut(10..28).context("the table is shorter than its header")?;
    for (byte, value) in fields.iter_mut().zip(identity) {
        *byte = value;
    }
    let checksum = table.get_mut(9).context("the table is shorter than its header")?;
    *checksum = 0;
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = table.get_mut(9) {
        *checksum = sum.wrapping_neg();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ivrs_trace::firmware::amd::builder::IvhdSpec;

    use super::*;

    fn own() -> Ivrs {
        let table = IvrsBuilder::new()
            .revision(1)
            .oem_id(*b"BOCHS ")
            .oem_table_id(*b"BXPC    ")
            .ivhd(IvhdSpec { devid: Devid(0x0010), mmio: 0xfed8_0000, ..IvhdSpec::default() });
        Ivrs::parse(&table.build().unwrap()).unwrap()
    }

    fn made(firmware: &Firmware) -> (Ivrs, Option<String>) {
        let made = firmware.table(&own()).unwrap();
        (Ivrs::parse(&made.table).unwrap(), made.note)
    }

    fn named(name: &str) -> Firmware {
        name.parse().unwrap()
    }

    #[track_caller]
    fn assert_taken_by_the_kernel(table: &Ivrs) {
        assert!(table.header.checksum_ok);
        assert_eq!(table.header.oem_id, own().header.oem_id);
        assert_eq!(table.header.oem_table_id, own().header.oem_table_id);
        assert_eq!(table.header.oem_revision, own().header.oem_revision + 1);
    }

    #[test]
    fn a_named_table_has_the_machines_ivhd_and_its_own_blocks() {
        for (name, kind, count) in [
            ("am5-desktop", IvmdKind::Range, 3),
            ("single", IvmdKind::Device, 1),
            ("all", IvmdKind::All, 1),
        ] {
            let (table, note) = made(&named(name));
            assert_taken_by_the_kernel(&table);
            assert_eq!(note, None);
            assert_eq!(table.ivhd.len(), 1);
            assert_eq!(table.ivhd[0].bytes, own().ivhd[0].bytes);
            assert_eq!(table.ivmd.len(), count, "{name}");
            assert!(table.ivmd.iter().all(|ivmd| ivmd.kind == kind), "{name}");
        }
    }

    #[test]
    fn an_rmrr_goes_into_the_machines_dmar() {
        let dmar = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[]).build().unwrap();
        let dmar = Dmar::parse(&dmar).unwrap();
        for (name, count) in [("rmrr-single", 1), ("rmrr", 4)] {
            let made = named(name).dmar(&dmar).unwrap();
            let table = Dmar::parse(&made.table).unwrap();
            assert!(table.header.checksum_ok);
            assert_eq!(table.header.oem_table_id, dmar.header.oem_table_id);
            assert_eq!(table.header.oem_revision, dmar.header.oem_revision + 1);
            assert_eq!((&table.drhd, table.rmrr.len()), (&dmar.drhd, count), "{name}");
            assert!(named(name).table(&own()).is_err(), "{name}");
        }
        assert!(named("single").dmar(&dmar).is_err());
    }

    #[test]
    fn none_is_the_machines_own() {
        assert!(named("none").is_own());
        assert!(!named("all").is_own());
    }

    #[test]
    fn blocks_from_the_command_line_come_last() {
        let text = "type=0x21,flags=0x07,devid=0x0018,aux=0,start=0x1000,length=0x1000";
        let block: IvmdSpec = text.parse().unwrap();
        let (table, _) = made(&named("single").with(block));
        assert_eq!(table.ivmd.len(), 2);
        assert_eq!(table.ivmd[1].devid, Devid(0x0018));
        let (table, _) = made(&Firmware::default().with(block));
        assert_eq!(table.ivmd.len(), 1);
    }

    #[test]
    fn a_file_for_this_machine_goes_in_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ivrs.aml");
        let table = IvrsBuilder::new()
            .ivhd(IvhdSpec { devid: Devid(0x0010), mmio: 0xfed8_0000, ..IvhdSpec::default() })
            .raw(vec![0x51, 7, 8, 0, 1, 2, 3, 4])
            .build()
            .unwrap();
        fs::write(&path, &table).unwrap();
        let (made, note) = made(&Firmware::file(&path));
        assert_taken_by_the_kernel(&made);
        assert_eq!(note, None);
        assert_eq!(made.bytes()[28..], table[28..]);
    }

    #[test]
    fn another_machines_file_gives_its_other_blocks_and_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ivrs.aml");
        let unknown = vec![0x51, 7, 8, 0, 1, 2, 3, 4];
        let text = "type=0x21,flags=0x07,devid=0x0100,start=0x7a2d9000,length=0x1000";
        let block: IvmdSpec = text.parse().unwrap();
        let table = IvrsBuilder::new()
            .ivhd(IvhdSpec::default())
            .raw(unknown.clone())
            .ivhd(IvhdSpec { kind: IvhdKind::Type11, ..IvhdSpec::default() })
            .ivmd(block)
            .build()
            .unwrap();
        fs::write(&path, &table).unwrap();
        let (made, note) = made(&Firmware::file(&path));
        assert_taken_by_the_kernel(&made);
        assert!(note.unwrap().contains("2 other blocks"));
        assert_eq!(made.ivhd[0].bytes, own().ivhd[0].bytes);
        assert_eq!(made.ivhd.len(), 1);
        assert_eq!(made.unknown[0].bytes, unknown);
        assert_eq!(IvmdSpec::from(&made.ivmd[0]), block);
    }

    #[test]
    fn a_file_that_is_no_table_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        let error = Firmware::file(&path).table(&own()).unwrap_err();
        assert!(error.to_string().contains("photo.jpg"), "{error}");
        fs::write(&path, b"no table").unwrap();
        let error = Firmware::file(&path).table(&own()).unwrap_err();
        assert!(format!("{error:#}").contains("photo.jpg: it is not an IVRS"), "{error:#}");
    }
}
