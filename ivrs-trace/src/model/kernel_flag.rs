//! Whether the kernel refuses devices for their 1:1 maps, and where that shows.

use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::escape::printable;

/// Whether the kernel refuses devices for `dev_iommu.require_direct`: mainline since 6.6
/// (a48ce36e2786), backported by some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequireDirect {
    /// The kernel has the member.
    Present,
    /// The kernel does not have it.
    Missing,
    /// Nothing shows it: there is no BTF to look into.
    Unknown,
}

/// Whether the kernel has `dev_iommu.require_direct`, with where that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFlag {
    /// The answer.
    pub answer: RequireDirect,
    /// Where it shows.
    pub source: FlagSource,
}

/// Where it shows whether the kernel has the flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagSource {
    /// In its BTF.
    Btf,
    /// In its release: mainline has it from 6.6 on.
    Release {
        /// The release.
        release: String,
        /// Why its BTF does not say it.
        no_btf: String,
    },
    /// Nowhere.
    Nowhere {
        /// Why its BTF does not say it.
        no_btf: String,
    },
}

impl KernelFlag {
    /// What the kernel's BTF, which was read, says.
    #[must_use]
    pub fn of_btf(has_it: bool) -> Self {
        let answer = if has_it { RequireDirect::Present } else { RequireDirect::Missing };
        Self { answer, source: FlagSource::Btf }
    }

    /// What a release says of a kernel whose BTF is not at hand.
    ///
    /// Mainline has the flag from 6.6 on (a48ce36e2786) and has kept it. That an older kernel does
    /// not, its release cannot tell: distributions have backported it.
    #[must_use]
    pub fn of_release(release: Option<&str>, no_btf: String) -> Self {
        match release {
            Some(text) if version(text).is_some_and(|version| version >= (6, 6)) => Self {
                answer: RequireDirect::Present,
                source: FlagSource::Release { release: text.to_owned(), no_btf },
            },
            _ => Self { answer: RequireDirect::Unknown, source: FlagSource::Nowhere { no_btf } },
        }
    }
}

/// As recordings note it down, which is by BTF alone.
impl From<RequireDirect> for KernelFlag {
    fn from(answer: RequireDirect) -> Self {
        let source = match answer {
            RequireDirect::Present | RequireDirect::Missing => FlagSource::Btf,
            RequireDirect::Unknown => {
                FlagSource::Nowhere { no_btf: "/sys/kernel/btf/vmlinux was not read".to_owned() }
            }
        };
        Self { answer, source }
    }
}

/// `(6, 12)` of `6.12.117+deb12-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // `parse` would take a sign.
    major.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// See [`Known::refuses_by`].
pub(super) fn evidence(model: &Known) -> Vec<String> {
    let release = model.host().kernel_release.value();
    let release = release.map_or_else(|| "of unknown release".to_owned(), |text| printable(text));
    let mut facts = vec![match (&model.flag.source, model.flag.answer) {
        (FlagSource::Btf, RequireDirect::Missing) => {
            format!("dev_iommu.require_direct is not in the BTF of the kernel {release}")
        }
        (FlagSource::Btf, _) => {
            format!("dev_iommu.require_direct is in the BTF of the kernel {release}")
        }
        (FlagSource::Release { release, no_btf }, _) => format!(
            "kernel {}: mainline has dev_iommu.require_direct from 6.6 on; {no_btf}",
            printable(release)
        ),
        (FlagSource::Nowhere { no_btf }, _) => format!("kernel {release}; {no_btf}"),
    }];
    if model.is_intel_host() && model.flag.answer != RequireDirect::Present {
        facts.push(
            "/sys/class/iommu has Intel's units (dmarN): their driver refuses by itself where the \
             flag is not (intel_iommu_attach_device, up to 6.5)"
                .to_owned(),
        );
    }
    facts
}

impl Known {
    /// What [`Self::refuses`] rests on, a fact a line: only what was read.
    #[must_use]
    pub fn refuses_by(&self) -> Vec<String> {
        evidence(self)
    }
}
