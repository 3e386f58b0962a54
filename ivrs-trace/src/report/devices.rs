//! PCI functions in lines with columns in common.

use std::collections::BTreeSet;

use super::{cause::numbers, redact::Redactor};
use crate::{
    host::PciNames,
    model::{DeviceVerdict, Model, Verdicts},
    width::{cut, pad, width},
};

/// Columns of a driver's name at most.
const DRIVER: usize = 14;

/// What the lines have in common: the widths of their columns, and what they look up.
pub(super) struct Table<'a> {
    model: &'a Model,
    redact: &'a Redactor,
    /// Whether they have the ids of vendor and device.
    ids: bool,
    group: usize,
    driver: usize,
    names: PciNames,
    /// Who has direct regions itself, whoever comes first in its group.
    blockers: BTreeSet<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn of(
        model: &'a Model,
        verdicts: &'a Verdicts,
        redact: &'a Redactor,
        ids: bool,
    ) -> Self {
        let devices = &verdicts.devices;
        let columns = devices.iter().map(|device| group(device).len());
        let driver = devices.iter().map(|device| width(&redact.text(driver(device))));
        let blockers = verdicts.groups.iter().flat_map(|one| &one.blocked_by);
        Self {
            model,
            redact,
            ids,
            group: columns.max().unwrap_or_default(),
            driver: driver.max().unwrap_or_default().min(DRIVER),
            names: model.host().pci_names.value().cloned().unwrap_or_default(),
            blockers: blockers.map(String::as_str).collect(),
        }
    }

    /// A function's address, group, driver and what holds it; and its name, or what kind of device it
    /// is.
    pub(super) fn line(&self, device: &DeviceVerdict) -> (String, String) {
        let bdf = device.bdf;
        let function = self.model.function(bdf);
        let ids = function.and_then(|one| Some((one.vendor.value()?, one.device.value()?)));
        let ids = match ids.filter(|_| self.ids) {
            Some((vendor, id)) => format!("  {vendor:04x}:{id:04x}"),
            None if self.ids => "  ----:----".to_owned(),
            None => String::new(),
        };
        let cause = match numbers(&device.causes) {
            Some((first, numbers)) => format!("  {} {}", first.noun(), numbers.join(", ")),
            None if device.causes.is_empty() => String::new(),
            None => "  direct regions".to_owned(),
        };
        let itself = self.blockers.contains(bdf.to_string().as_str());
        let through = match device.blocked_by.as_ref().filter(|_| !itself) {
            Some(name) => format!(" through {}", self.redact.text(name)),
            None => String::new(),
        };
        let alias = self.model.alias(bdf);
        let alias = alias.map_or_else(String::new, |alias| format!("  seen as {alias}"));
        let driver = column(&self.redact.text(driver(device)), self.driver);
        let group = pad(&group(device), self.group);
        let line = format!("{bdf}  {group}  {driver}{ids}{cause}{through}{alias}");
        let name = function.and_then(|function| {
            function.device_name(&self.names).or_else(|| function.class_name(&self.names))
        });
        (line, name.map(|name| self.redact.text(name)).unwrap_or_default())
    }
}

fn group(device: &DeviceVerdict) -> String {
    device.group.map_or_else(|| "no group".to_owned(), |id| format!("group {id}"))
}

fn driver(device: &DeviceVerdict) -> &str {
    device.driver.as_deref().unwrap_or("-")
}

/// A text in a column of its own.
pub(super) fn column(text: &str, columns: usize) -> String {
    pad(&cut(text, columns), columns)
}
