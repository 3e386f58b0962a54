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
        match self {
            Self::Region { device, index, start, length, prot, region_type, .. } => {
                let end = start.wrapping_add(*length).wrapping_sub(1);
                write!(
                    f,
                    "region {device} #{index} {start:#x}-{end:#x} {region_type} prot {prot:#x}"
                )
            }
            Self::RegionsEnd { device, count, require_direct, incomplete, .. } => {
                write!(f, "regions {device} {count} in all")?;
                match require_direct {
                    Some(true) => f.write_str(", require_direct=1")?,
                    Some(false) => f.write_str(", require_direct=0")?,
                    None => {}
                }
                if *incomplete { f.write_str(", INCOMPLETE") } else { Ok(()) }
            }
            Self::Claim { phase, device, group, owner_count, foreign_domain, .. } => {
                let call = if device.is_some() {
                    "iommu_device_claim_dma_owner"
                } else {
                    "iommu_group_claim_dma_owner"
                };
                write!(f, "{call}(")?;
                if let Some(device) = device {
                    write!(f, "{device}, ")?;
                }
                write!(f, "{})", GroupName(*group))?;
                match phase {
                    Phase::Enter => {
                        write!(f, " owners {owner_count}")?;
                        if *foreign_domain {
                            f.write_str(", not on its default domain")
                        } else {
                            Ok(())
                        }
                    }
                    Phase::Exit { ret } => write!(f, " = {}", Return(*ret)),
                }
            }
            Self::UnityMatch {
                device, ordinal, devid_start, devid_end, start, end, prot, ..
            } => {
                write!(
                    f,
                    "unity map {device} entry {ordinal} devid {devid_start:#06x}-{devid_end:#06x} \
                     {start:#x}-{:#x} prot {prot:#x}",
                    end.wrapping_sub(1)
                )
            }
            Self::SetDomain { device, domain_type, require_direct, blocking, ret, .. } => {
                write!(
                    f,
                    "__iommu_device_set_domain({device}, type {domain_type}{}) = {}{}",
                    if *blocking { " blocking" } else { "" },
                    Return((*ret).into()),
                    if *require_direct { ", require_direct=1" } else { "" },
                )
            }
            Self::VfioCall { phase, function, request, path, device_name, .. } => {
                f.write_str(function.name())?;
                if let Phase::Exit { ret } = phase {
                    return write!(f, " = {}", Return(*ret));
                }
                let parts =
                    [path.clone(), request.map(|request| request.to_string()), device_name.clone()];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                write!(f, "({})", parts.join(", "))
            }
            Self::DeviceCall { phase, function, device, driver, require_direct } => {
                f.write_str(function.name())?;
                if let Some(device) = device {
                    write!(f, "({device})")?;
                }
                write!(f, "{}", ReturnOf(*phase))?;
                if matches!(function, DeviceFunction::PciProbe | DeviceFunction::PciRemove) {
                    write!(f, ", driver {driver}")?;
                }
                f.write_str(match require_direct {
                    Some(true) => ", require_direct=1",
                    Some(false) | None => "",
                })
            }
            Self::DeviceOpen { ret } => {
                write!(f, "vfio_df_open = {}, iommufd not asked", Return(*ret))
            }
            Self::IommufdAttach { phase } => {
                write!(f, "iommufd_device_attach{}", ReturnOf(*phase))
            }
            Self::OwnerClaimed { claimed, group, owner_count, .. } => write!(
                f,
                "iommu_group_dma_owner_claimed({}) = {claimed}, owners {owner_count}",
                GroupName(*group)
            ),
            Self::IsolatedMsi { isolated, group } => {
                write!(f, "iommu_group_has_isolated_msi({}) = {isolated}", GroupName(*group))
            }
            Self::Member { device, driver, manages_dma, incomplete, .. } => {
                write!(f, "member {device} driver ")?;
                f.write_str(if driver.is_empty() { "none" } else { driver })?;
                if !driver.is_empty() && !manages_dma {
                    f.write_str(", of the host")?;
                }
                if *incomplete { f.write_str(", INCOMPLETE") } else { Ok(()) }
            }
            Self::KernelMessage { text, cut } => {
                write!(f, "kernel log: {text}{}", if *cut { " …" } else { "" })
            }
            Self::Warning { device, driver, .. } => {
                write!(f, "kernel warns that it refuses {device}")?;
                if driver.is_empty() { Ok(()) } else { write!(f, ", driver {driver}") }
            }
            Self::GroupChange { change, device } => {
                let word = match change {
                    Change::Added => "added to",
                    Change::Removed => "removed from",
                };
                write!(f, "{} {word} {}", device.name, GroupName(device.group))
            }
            Self::UnityEntry { ordinal, segment, devid_start, devid_end, start, end, prot } => {
                write!(
                    f,
                    "unity map of segment {segment:04x} entry {ordinal} devid \
                     {devid_start:#06x}-{devid_end:#06x} {start:#x}-{:#x} prot {prot:#x}",
                    end.wrapping_sub(1)
                )
            }
            Self::UnityEnd { segment, last_devid, count, incomplete } => {
                write!(
                    f,
                    "unity map of segment {segment:04x} {count} in all, last devid {last_devid:#06x}"
                )?;
                if *incomplete { f.write_str(", INCOMPLETE") } else { Ok(()) }
            }
            Self::ContainerAttach { phase } => {
                write!(f, "vfio_container_attach_group{}", ReturnOf(*phase))
            }
            Self::Type1Attach { phase, group } => {
                f.write_str("vfio_iommu_type1_attach_group")?;
                if *phase == Phase::Enter {
                    write!(f, "({})", GroupName(*group))?;
                }
                write!(f, "{}", ReturnOf(*phase))
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

struct ReturnOf(Phase);

impl fmt::Display for ReturnOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Phase::Enter => Ok(()),
            Phase::Exit { ret } => write!(f, " = {}", Return(ret)),
        }
    }
}
