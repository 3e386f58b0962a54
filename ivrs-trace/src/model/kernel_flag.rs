//! Whether the kernel refuses devices for their 1:1 maps, and where that shows.

use super::known::Known;
use crate::{
    escape::printable,
    facts::{FlagSource, RequireDirect},
};

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
        let shown = match model.functions().find(|one| model.is_intel(one.bdf)) {
            Some(one) if model.host().iommus.value().is_none_or(Vec::is_empty) => {
                format!("an Intel unit (dmarN) serves {}, by its iommu link", one.bdf)
            }
            _ => "/sys/class/iommu has Intel's units (dmarN)".to_owned(),
        };
        facts.push(format!(
            "{shown}: their driver refuses by itself where the flag is not \
             (intel_iommu_attach_device, up to 6.5)"
        ));
    }
    if model.refuses() != model.flag.answer && !model.is_intel_host() {
        facts.push(
            "nothing that was read shows whose IOMMUs serve the devices: Intel's driver up to 6.5 \
             refuses by itself (intel_iommu_attach_device)"
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
