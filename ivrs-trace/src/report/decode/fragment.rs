//! What `decode` says of blocks that were pasted without their table: each block, and nothing that
//! rests on the header or on what is not there.

use super::{
    amd_json::{Decode, IvhdDocument, IvmdDocument, UnknownDocument},
    amd_text::{Detail, block},
    intel::{DecodeDmar, DrhdDocument, RmrrDocument, StructureDocument, dmar_structure},
    layout::paragraph,
};
use crate::{
    firmware::{Dmar, Ivrs, KernelView},
    object::object,
    report::page::{Page, Style},
};

object! {
    /// What `decode --json` prints of blocks without their table's header. Offsets count as if the
    /// first block began the table's blocks, at 0x30.
    DecodeFragment schema "ivrs-trace/decode-fragment/1" of (
        signature: &'static str, ivrs: Option<Decode>, dmar: Option<DecodeDmar>
    ) using {
        let (mut heads, mut memory, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(of) = ivrs {
            (heads, memory, unknown) = (of.ivhd, of.ivmd, of.unknown);
        }
        let (drhd, rmrr, others) =
            dmar.map(|of| (of.drhd, of.rmrr, of.others)).unwrap_or_default();
    } {
        /// Of the table that the blocks are of: `IVRS` or `DMAR`.
        signature: &'static str = signature,
        /// The IVHD blocks.
        ivhd: Vec<IvhdDocument> = heads,
        /// The IVMD blocks.
        ivmd: Vec<IvmdDocument> = memory,
        /// Blocks of an IVRS of other types.
        unknown: Vec<UnknownDocument> = unknown,
        /// The DRHD structures.
        drhd: Vec<DrhdDocument> = drhd,
        /// The RMRR structures.
        rmrr: Vec<RmrrDocument> = rmrr,
        /// The other structures of a DMAR.
        others: Vec<StructureDocument> = others,
    }
}

/// Blocks alone do not say that the kernel gives the table up.
fn view_of(table: &Ivrs) -> KernelView {
    let mut view = KernelView::new(table);
    view.fatal.clear();
    view
}

/// The document of blocks of an IVRS.
#[must_use]
pub fn ivrs_fragment(table: &Ivrs) -> DecodeFragment {
    DecodeFragment::of("IVRS", Some(Decode::of(table, &view_of(table))), None)
}

/// The document of structures of a DMAR.
#[must_use]
pub fn dmar_fragment(table: &Dmar) -> DecodeFragment {
    DecodeFragment::of("DMAR", None, Some(DecodeDmar::of(table)))
}

fn begin(style: Style, of: &str) -> Page {
    let mut page = Page::new(style);
    let text = format!(
        "Part of {of} table, without its header: nothing is known of its checksum, its length or \
         other blocks. The offsets are right if the first block here is the table's first."
    );
    paragraph(&mut page, 0, &text);
    page
}

/// The text of blocks of an IVRS.
#[must_use]
pub fn ivrs_fragment_text(table: &Ivrs, detail: Detail, style: Style) -> String {
    let view = view_of(table);
    let blocks = table.blocks.iter().map(|header| block(header, table, &view, detail, style));
    [begin(style, "an IVRS").finish()].into_iter().chain(blocks).collect::<Vec<_>>().join("\n")
}

/// The text of structures of a DMAR.
#[must_use]
pub fn dmar_fragment_text(table: &Dmar, style: Style) -> String {
    let blocks = table.structures.iter().map(|header| dmar_structure(header, table, style));
    [begin(style, "a DMAR").finish()].into_iter().chain(blocks).collect::<Vec<_>>().join("\n")
}
