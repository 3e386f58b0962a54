//! The kernel's type information: every member that the programs need is looked up in it.
#![no_main]

use ivrs_trace::probe::btf::{Btf, Member};
use ivrs_trace_common::for_each_offset;
use ivrs_trace_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

macro_rules! look_up {
    ($($name:ident, $container:literal, $path:literal;)*) => {
        fn look_up(btf: &Btf) {
            $(
                let member = btf.member($container, $path);
                let _ = member.and_then(Member::byte_offset);
                if let Some((_, bit)) = member.and_then(Member::flag) {
                    assert!(bit < 32, "{} is bit {bit} of a word of 32", stringify!($name));
                }
            )*
        }
    };
}
for_each_offset!(look_up);

fuzz_target!(|data: &[u8]| {
    // A type has 12 bytes and may have a name of 512, which the types can share.
    bounded(data, 128, || {
        if let Ok(btf) = Btf::parse(data.to_vec()) {
            look_up(&btf);
            let _ = btf.has_function("iommu_group_claim_dma_owner");
        }
    });
});
