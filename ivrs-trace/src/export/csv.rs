//! Comma-separated values (RFC 4180) for spreadsheets: the events of a trace, or the devices of a
//! host. A cell from outside that a spreadsheet could take for a formula begins with an apostrophe.

use std::io::Write;

use crate::{
    errno,
    event::{Body, Event, Phase, Value},
    model::{Model, Verdict, Verdicts},
};

/// The columns of events.
const EVENTS: [&str; 14] = [
    "number", "time_ns", "pid", "tid", "comm", "cpu", "kind", "phase", "device", "group", "driver",
    "ret", "errno", "text",
];
/// The columns of devices.
const DEVICES: [&str; 13] = [
    "bdf",
    "group",
    "driver",
    "vendor",
    "device",
    "class",
    "name",
    "iommu",
    "verdict",
    "ivmd",
    "blocked_by",
    "missing",
    "no_iommu",
];

/// Writes events, a row each.
pub struct Events<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> Events<W> {
    /// Begins with the names of the columns.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(output: W) -> Result<Self, csv::Error> {
        let mut writer = csv::Writer::from_writer(output);
        writer.write_record(EVENTS)?;
        Ok(Self { writer })
    }

    /// Writes an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, number: u64, event: &Event) -> Result<(), csv::Error> {
        let body = &event.body;
        let ret = body.ret();
        self.writer.write_record([
            number.to_string(),
            event.time_ns.to_string(),
            event.pid.to_string(),
            event.tid.to_string(),
            cell(&event.comm),
            event.cpu.to_string(),
            body.kind().to_owned(),
            match body.field("phase") {
                Some(Value::Phase(Phase::Enter)) => "enter".to_owned(),
                Some(Value::Phase(Phase::Exit { .. })) => "exit".to_owned(),
                _ => String::new(),
            },
            body.device().map_or_else(String::new, |device| cell(&device.name)),
            group(body).unwrap_or_default(),
            cell(&plain(body, "driver").unwrap_or_default()),
            ret.map_or_else(String::new, |ret| ret.to_string()),
            ret.and_then(errno::of_return).map_or_else(String::new, |errno| errno.to_string()),
            cell(&body.to_string()),
        ])
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// Writes the functions of a host and what is said of them, a row each.
///
/// # Errors
/// If it cannot be written.
pub fn devices(output: impl Write, model: &Model, verdicts: &Verdicts) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_writer(output);
    writer.write_record(DEVICES)?;
    let names = model.host().pci_names.value().cloned().unwrap_or_default();
    for device in &verdicts.devices {
        let function = model.function(device.bdf);
        let hex =
            |value: Option<&u16>| value.map_or_else(String::new, |value| format!("0x{value:04x}"));
        let class = function.and_then(|one| one.class.value());
        let name =
            function.and_then(|one| one.device_name(&names).or_else(|| one.class_name(&names)));
        let blocks: Vec<String> = device.ivmds().map(|one| one.to_string()).collect();
        writer.write_record([
            device.bdf.to_string(),
            device.group.map_or_else(String::new, |id| id.to_string()),
            device.driver.as_deref().map_or_else(String::new, cell),
            hex(function.and_then(|one| one.vendor.value())),
            hex(function.and_then(|one| one.device.value())),
            class.map_or_else(String::new, |class| format!("0x{class:06x}")),
            name.map_or_else(String::new, |name| cell(&crate::escape::printable(name))),
            device.iommu.as_deref().map_or_else(String::new, cell),
            match device.verdict {
                Verdict::Blocked => "blocked",
                Verdict::Clear => "clear",
                Verdict::Unknown => "unknown",
                Verdict::NoIommu => "no_iommu",
                Verdict::Platform => "platform",
            }
            .to_owned(),
            blocks.join(" "),
            device.blocked_by.as_deref().map_or_else(String::new, cell),
            device.missing.as_deref().map_or_else(String::new, cell),
            device.no_iommu.as_ref().map_or_else(String::new, |why| cell(&why.why(&[device.bdf]))),
        ])?;
    }
    writer.flush()?;
    Ok(())
}

/// Printable text that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    if text.trim_start().starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// The group that an event is about; that of its device where it names none of its own.
fn group(body: &Body) -> Option<String> {
    let of_device = || Some(body.device()?.group?.to_string());
    // A claim may be on a group that could not be read.
    let named = matches!(body, Body::Claim { .. });
    plain(body, "group").or_else(|| if named { None } else { of_device() })
}

fn plain(body: &Body, field: &str) -> Option<String> {
    match body.field(field)? {
        Value::Plain(value) => Some(value.to_string()),
        _ => None,
    }
}
