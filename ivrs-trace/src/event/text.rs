//! An event as one line of text, readable beside strace's output.

use std::fmt;

use super::{Body, Change, Device, DeviceFunction, Event, Phase};
use crate::{errno, width::pad};

/// `TIME pid/tid comm  what happened`; the time is seconds of `CLOCK_MONOTONIC`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.time_ns / 1_000_000_000, self.time_ns % 1_000_000_000);
        let process = format!("{}/{}", self.pid, self.tid);
        let comm = pad(&self.comm, 15);
        write!(f, "{seconds:>6}.{:06} {process:<13} {comm} {}", rest / 1000, self.body)
    }
}

impl fmt::Display for Body {
    #[expect(clippy::too_many_lines, reason = "one arm a kind, and nothing else")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function().unwrap_or_default();
        let incomplete = when(self.is("incomplete"), ", INCOMPLETE");
        let direct = when(self.is("require_direct"), ", require_direct=1");
        match self {
            Self::Region { device, index, start, length, prot, region_type, .. } => {
                let end = start.wrapping_add(*length).wrapping_sub(1);
                write!(
                    f,
                    "region {device} #{index} {start:#x}-{end:#x} {region_type} prot {prot:#x}"
                )
            }
            Self::RegionsEnd { device, count, require_direct, .. } => {
                let free = when(*require_direct == Some(false), ", require_direct=0");
                write!(f, "regions {device} {count} in all{direct}{free}{incomplete}")
            }
            Self::Claim { phase, device, group, owner_count, foreign_domain, .. } => {
                write!(f, "{function}(")?;
                if let Some(device) = device {
                    write!(f, "{device}, ")?;
                }
                write!(f, "{}){phase}", GroupName(*group))?;
                if *phase == Phase::Enter {
                    let foreign = when(*foreign_domain, ", not on its default domain");
                    write!(f, " owners {owner_count}{foreign}")?;
                }
                Ok(())
            }
            Self::UnityMatch {
                device, ordinal, devid_start, devid_end, start, end, prot, ..
            } => {
                let last = end.wrapping_sub(1);
                write!(
                    f,
                    "unity map {device} entry {ordinal} devid {devid_start:#06x}-{devid_end:#06x} \
                     {start:#x}-{last:#x} prot {prot:#x}"
                )
            }
            Self::UnityEntry { ordinal, segment, devid_start, devid_end, start, end, prot } => {
                let last = end.wrapping_sub(1);
                write!(
                    f,
                    "unity map of segment {segment:04x} entry {ordinal} devid \
                     {devid_start:#06x}-{devid_end:#06x} {start:#x}-{last:#x} prot {prot:#x}"
                )
            }
            Self::UnityEnd { segment, last_devid, count, .. } => write!(
                f,
                "unity map of segment {segment:04x} {count} in all, last devid {last_devid:#06x}\
                 {incomplete}"
            ),
            Self::SetDomain { device, domain_type, blocking, ret, .. } => {
                let (blocking, ret) = (when(*blocking, " blocking"), Return((*ret).into()));
                write!(f, "{function}({device}, type {domain_type}{blocking}) = {ret}{direct}")
            }
            Self::VfioCall { phase: phase @ Phase::Exit { .. }, .. }
            | Self::IommufdAttach { phase }
            | Self::ContainerAttach { phase }
            | Self::Type1Attach { phase: phase @ Phase::Exit { .. }, .. } => {
                write!(f, "{function}{phase}")
            }
            Self::VfioCall { request, path, device_name, .. } => {
                let request = request.map(|request| request.to_string());
                let parts = [path, &request, device_name];
                let parts: Vec<&str> = parts.into_iter().filter_map(Option::as_deref).collect();
                write!(f, "{function}({})", parts.join(", "))
            }
            Self::Type1Attach { group, .. } => write!(f, "{function}({})", GroupName(*group)),
            Self::DeviceCall { phase, function, device, driver, .. } => {
                f.write_str(function.name())?;
                if let Some(device) = device {
                    write!(f, "({device})")?;
                }
                write!(f, "{phase}")?;
                if matches!(function, DeviceFunction::PciProbe | DeviceFunction::PciRemove) {
                    write!(f, ", driver {driver}")?;
                }
                f.write_str(direct)
            }
            Self::DeviceOpen { ret } => {
                write!(f, "{function} = {}, iommufd not asked", Return(*ret))
            }
            Self::OwnerClaimed { claimed, group, owner_count, .. } => {
                write!(f, "{function}({}) = {claimed}, owners {owner_count}", GroupName(*group))
            }
            Self::IsolatedMsi { isolated, group } => {
                write!(f, "{function}({}) = {isolated}", GroupName(*group))
            }
            Self::Member { device, driver, manages_dma, .. } => {
                let named = if driver.is_empty() { "none" } else { driver };
                let host = when(!driver.is_empty() && !manages_dma, ", of the host");
                write!(f, "member {device} driver {named}{host}{incomplete}")
            }
            Self::KernelMessage { text, cut } => {
                write!(f, "kernel log: {text}{}", when(*cut, " …"))
            }
            Self::Warning { device, driver, .. } => {
                let before = when(!driver.is_empty(), ", driver ");
                write!(f, "kernel warns that it refuses {device}{before}{driver}")
            }
            Self::GroupChange { change, device } => {
                let way = match change {
                    Change::Added => "to",
                    Change::Removed => "from",
                };
                write!(f, "{} {change} {way} {}", device.name, GroupName(device.group))
            }
            Self::Args { offset, total, text, .. } => {
                write!(f, "command line, {total} bytes, from {offset}: {}", text.trim_end())
            }
            Self::ModuleLoad { name } => write!(f, "module {name} loaded"),
            Self::Unknown { code, length } => {
                write!(f, "event of unknown kind {code}, {length} bytes")
            }
        }
    }
}

fn when(yes: bool, text: &'static str) -> &'static str {
    if yes { text } else { "" }
}

/// The device's name and group: `0000:01:00.0 (group 10)`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.group {
            Some(group) => write!(f, " (group {group})"),
            None => Ok(()),
        }
    }
}

struct GroupName(Option<u32>);

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(group) => write!(f, "group {group}"),
            None => f.write_str("group unknown"),
        }
    }
}

struct Return(i64);

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match errno::of_return(self.0) {
            Some(error) => write!(f, "-1 {error}"),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a return adds to a call.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Enter => Ok(()),
            Self::Exit { ret } => write!(f, " = {}", Return(ret)),
        }
    }
}
