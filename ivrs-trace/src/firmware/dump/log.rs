//! The IVMD lines of a kernel log written with `amd_iommu_dump`.
//!
//! The lines are those of `init_unity_map_range` (drivers/iommu/amd/init.c). Kernels before 6.0 write
//! devices without a segment; up to 6.12 the prefix `AMD-Vi: ` is there twice. What stands before the
//! line's own text (time, host, prefix) is not looked at.

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::Form,
    text::lines,
};
use crate::{
    firmware::amd::ivrs::{IvmdFlags, IvmdKind},
    pci::{Bdf, Devid, Segment},
};

/// An IVMD block that the kernel heeded, as its log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvmdLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// The block's type.
    pub kind: IvmdKind,
    /// PCI segment; 0 where the kernel is too old to say it.
    pub segment: Segment,
    /// First devid.
    pub devid_start: Devid,
    /// Last devid, inclusive. Below `devid_start` it matches nothing.
    pub devid_end: Devid,
    /// First byte of memory, rounded up to a page by the kernel.
    pub start: u64,
    /// First byte after it; equals `start` for a block of length 0.
    pub end_exclusive: u64,
    /// The block's flags as firmware gave them.
    pub flags: IvmdFlags,
}

/// The highest devid of a segment, which a block for all devices ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBdf {
    /// The segment.
    pub segment: Segment,
    /// Its highest devid.
    pub devid: Devid,
}

/// What a kernel log tells of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IvmdLog {
    /// The IVMD blocks that the kernel heeded, in the table's order.
    pub entries: Vec<IvmdLine>,
    /// The segments, in the log's order. Kernels before 6.0 name none.
    pub segments: Vec<LastBdf>,
    /// What a reader of the result should know about the input, a sentence each.
    pub notes: Vec<String>,
}

/// Reads the last boot in the log. `None` if `text` has nothing of an AMD IOMMU.
pub(super) fn read(text: &str) -> Option<Result<IvmdLog, Fault>> {
    let mut log = IvmdLog::default();
    let mut boots = 0_usize;
    let mut driver_at = None;
    let mut dumped = false;
    let mut fresh = true;
    for (line, text) in lines(text) {
        let last_bdf = last_bdf(text);
        let again =
            last_bdf.is_some_and(|new| log.segments.iter().any(|s| s.segment == new.segment));
        fresh |= again || text.contains("Linux version ");
        let entry = ivmd(line, text);
        if last_bdf.is_some() || entry.is_some() {
            dumped = true;
            if fresh {
                fresh = false;
                boots = boots.saturating_add(1);
                log = IvmdLog::default();
            }
        }
        log.segments.extend(last_bdf);
        match entry {
            None => {}
            Some(Ok(entry)) => log.entries.push(entry),
            Some(Err(problem)) => {
                let error = DumpError::Bad { form: Form::KernelLog, line: Some(line), problem };
                return Some(Err(Fault { rank: Rank::Wanted, progress: log.entries.len(), error }));
            }
        }
        if text.contains("AMD-Vi: ") {
            driver_at.get_or_insert(line);
            // `init_iommu_all`: the line of each IOMMU, there before 6.0 too.
            dumped |= text.contains(" device: ") && text.contains(" cap: ");
        }
    }
    if !dumped {
        let line = Some(driver_at?);
        let error =
            DumpError::Bad { form: Form::KernelLog, line, problem: Problem::LogWithoutDump };
        return Some(Err(Fault { rank: Rank::Other, progress: 0, error }));
    }
    if boots > 1 {
        log.notes.push(format!("the log has {boots} boots: the last one is used"));
    }
    if log.entries.is_empty() {
        log.notes.push(
            "the log has no IVMD line: Linux used no IVMD block, or that part of the log is \
             missing"
                .to_owned(),
        );
    }
    Some(Ok(log))
}

/// `PCI segment : 0x0, last bdf : 0x22ff` (`alloc_pci_segment`).
fn last_bdf(text: &str) -> Option<LastBdf> {
    let (_, rest) = text.split_once("PCI segment : 0x")?;
    let (segment, devid) = rest.split_once(", last bdf : 0x")?;
    let number = |digits: &str| {
        let digits = digits.split_whitespace().next()?;
        u16::try_from(hex(digits)?).ok()
    };
    Some(LastBdf { segment: Segment(number(segment)?), devid: Devid(number(devid)?) })
}

/// The IVMD block of a line; `None` if the line is another.
fn ivmd(line: usize, text: &str) -> Option<Result<IvmdLine, Problem>> {
    let (_, rest) = text.split_once("IVMD_TYPE")?;
    // The kernel writes tabs here, which /dev/kmsg and rsyslog escape.
    let rest = rest.replace("\\x09", " ").replace("#011", " ");
    let (name, _) = rest.split_once(char::is_whitespace).unwrap_or((&rest, ""));
    let kind = match name {
        "i" => IvmdKind::Device,
        "_ALL" => IvmdKind::All,
        "_RANGE" => IvmdKind::Range,
        _ => return Some(Err(Problem::LogField { field: "IVMD_TYPE" })),
    };
    Some(fields(line, kind, &rest))
}

fn fields(line: usize, kind: IvmdKind, rest: &str) -> Result<IvmdLine, Problem> {
    let word = |field: &'static str| {
        let mut words = rest.split_whitespace().skip_while(|word| *word != field);
        words.nth(1).ok_or(Problem::LogField { field })
    };
    let bdf = |field| word(field)?.parse::<Bdf>().map_err(|_| Problem::LogField { field });
    // Sixteen digits, so that a line that is cut within a number is not taken for a shorter one.
    let address = |field| {
        let digits = word(field)?;
        hex(digits).filter(|_| digits.len() == 16).ok_or(Problem::LogField { field })
    };
    let first = bdf("devid_start:")?;
    let last = bdf("devid_end:")?;
    if first.segment != last.segment {
        return Err(Problem::LogField { field: "devid_end:" });
    }
    let flags = hex(word("flags:")?).and_then(|flags| u8::try_from(flags).ok());
    Ok(IvmdLine {
        line,
        kind,
        segment: first.segment,
        devid_start: first.devid,
        devid_end: last.devid,
        start: address("range_start:")?,
        end_exclusive: address("range_end:")?,
        flags: IvmdFlags(flags.ok_or(Problem::LogField { field: "flags:" })?),
    })
}

/// Digits only: `from_str_radix` alone would take a sign.
fn hex(digits: &str) -> Option<u64> {
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}
