//! Builds DMAR tables, right ones and wrong ones on purpose, for tests and for the VM lab.
//!
//! Lengths and checksum are computed. It never touches a machine's own tables: it only makes bytes.

use super::dmar::{Dmar, HEADER_LENGTH, SIGNATURE, ScopeKind, Step};
use crate::{
    firmware::amd::builder::BuildError,
    pci::{Devid, Segment},
};

/// A device scope to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeSpec {
    /// What it names.
    pub kind: ScopeKind,
    /// The bus on which the path begins.
    pub bus: u8,
    /// The way to the function.
    pub path: Vec<Step>,
    /// What its length field says instead of its length.
    pub length: Option<u8>,
}

impl ScopeSpec {
    /// A function on the bus of `devid`, without a bridge on the way.
    #[must_use]
    pub fn function(devid: Devid) -> Self {
        let step = Step { device: devid.device(), function: devid.function() };
        Self { kind: ScopeKind::Endpoint, bus: devid.bus(), path: vec![step], length: None }
    }

    /// The same with one more step: what is below a bridge.
    #[must_use]
    pub fn below(mut self, device: u8, function: u8) -> Self {
        self.path.push(Step { device, function });
        self
    }

    /// The same as another kind.
    #[must_use]
    pub fn of_kind(self, kind: ScopeKind) -> Self {
        Self { kind, ..self }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind.code(), 0, 0, 0, 0, self.bus];
        out.extend(self.path.iter().flat_map(|step| [step.device, step.function]));
        let length = self.length.or_else(|| u8::try_from(out.len()).ok()).unwrap_or(u8::MAX);
        if let Some(field) = out.get_mut(1) {
            *field = length;
        }
        out
    }
}

/// Builds a DMAR table. Structures come in the order in which they are added.
#[derive(Clone, Debug)]
pub struct DmarBuilder {
    oem_id: [u8; 6],
    oem_table_id: [u8; 8],
    oem_revision: u32,
    width: u8,
    flags: u8,
    structures: Vec<Vec<u8>>,
}

impl Default for DmarBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl DmarBuilder {
    /// A table without structures.
    #[must_use]
    pub fn new() -> Self {
        Self {
            oem_id: *b"IVRSTR",
            oem_table_id: *b"DMARTEST",
            oem_revision: 1,
            width: 38,
            flags: 1,
            structures: Vec::new(),
        }
    }

    /// With header and all structures of another table, as they are.
    #[must_use]
    pub fn like(table: &Dmar) -> Self {
        let structures = table.structures.iter().filter_map(|structure| {
            let end = structure.offset.saturating_add(usize::from(structure.length));
            table.bytes().get(structure.offset..end).map(<[u8]>::to_vec)
        });
        Self {
            oem_id: table.header.oem_id,
            oem_table_id: table.header.oem_table_id,
            oem_revision: table.header.oem_revision,
            width: table.width,
            flags: table.flags,
            structures: structures.collect(),
        }
    }

    /// With this OEM revision.
    #[must_use]
    pub fn oem_revision(self, oem_revision: u32) -> Self {
        Self { oem_revision, ..self }
    }

    /// With this width of addresses in bits, less one.
    #[must_use]
    pub fn width(self, width: u8) -> Self {
        Self { width, ..self }
    }

    /// With one more IOMMU.
    #[must_use]
    pub fn drhd(self, flags: u8, segment: Segment, address: u64, scopes: &[ScopeSpec]) -> Self {
        let mut out = vec![flags, 0];
        out.extend(segment.0.to_le_bytes());
        out.extend(address.to_le_bytes());
        self.structure(crate::firmware::intel::dmar::DRHD, &out, scopes)
    }

    /// With one more reservation of memory; `limit` is its last byte.
    #[must_use]
    pub fn rmrr(self, segment: Segment, base: u64, limit: u64, scopes: &[ScopeSpec]) -> Self {
        let mut out = vec![0, 0];
        out.extend(segment.0.to_le_bytes());
        out.extend(base.to_le_bytes());
        out.extend(limit.to_le_bytes());
        self.structure(crate::firmware::intel::dmar::RMRR, &out, scopes)
    }

    /// With these bytes as one more structure, type and length included.
    #[must_use]
    pub fn raw(mut self, bytes: Vec<u8>) -> Self {
        self.structures.push(bytes);
        self
    }

    fn structure(self, kind: u16, fields: &[u8], scopes: &[ScopeSpec]) -> Self {
        let scopes: Vec<u8> = scopes.iter().flat_map(ScopeSpec::encode).collect();
        let length = 4_usize.saturating_add(fields.len()).saturating_add(scopes.len());
        let mut out = kind.to_le_bytes().to_vec();
        // One that is too long is told by `build`.
        out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(fields);
        out.extend(scopes);
        self.raw(out)
    }

    /// The table's bytes.
    ///
    /// # Errors
    /// Where a structure or the table is too long for its length field.
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        let mut table = SIGNATURE.to_vec();
        table.extend([0; 4]);
        table.extend([1, 0]);
        table.extend(self.oem_id);
        table.extend(self.oem_table_id);
        table.extend(self.oem_revision.to_le_bytes());
        table.extend(*b"IVTR");
        table.extend(1_u32.to_le_bytes());
        table.extend([self.width, self.flags]);
        table.resize(HEADER_LENGTH, 0);
        for (block, structure) in self.structures.iter().enumerate() {
            let length = structure.len();
            if u16::try_from(length).is_err() {
                return Err(BuildError::BlockTooLong { block, length });
            }
            table.extend(structure);
        }
        let length = table.len();
        let field = u32::try_from(length).map_err(|_| BuildError::TableTooLong { length })?;
        for (byte, value) in table.iter_mut().skip(4).zip(field.to_le_bytes()) {
            *byte = value;
        }
        let sum = crate::firmware::acpi::sum(&table);
        if let Some(checksum) = table.get_mut(9) {
            *checksum = sum.wrapping_neg();
        }
        Ok(table)
    }
}
