//! A firmware table of the host: read, or why not.

use crate::{
    firmware::{Dmar, Fact, Ivrs, KernelView, TableError, TableName},
    host::{HexBytes, Reading},
};

/// A table of the host.
#[derive(Clone, Debug)]
pub enum Table<T> {
    /// It was read.
    Read(Box<T>),
    /// There is none: no IOMMU of this vendor, or it is switched off.
    Absent,
    /// There may be one, but it could not be read: path and reason.
    Unreadable(String),
    /// What is there is not such a table.
    Malformed(TableError),
}

/// The host's IVRS, and what the kernel makes of it.
pub type IvrsTable = Table<(Ivrs, KernelView)>;
/// The host's DMAR.
pub type DmarTable = Table<Dmar>;

impl<T> Table<T> {
    fn of(reading: &Reading<HexBytes>, parse: impl FnOnce(&[u8]) -> Result<T, TableError>) -> Self {
        match reading {
            Reading::Absent => Self::Absent,
            Reading::Unreadable(why) => Self::Unreadable(why.clone()),
            Reading::Read(bytes) => match parse(&bytes.0) {
                Ok(table) => Self::Read(Box::new(table)),
                Err(error) => Self::Malformed(error),
            },
        }
    }

    /// Why no entry of the table is named for a region.
    pub(super) fn no_entry(&self, name: TableName) -> Fact {
        match self {
            Self::Read(_) => Fact::NoEntry(name),
            Self::Absent => Fact::TableAbsent(name),
            Self::Unreadable(why) => Fact::TableUnreadable(name, why.clone()),
            Self::Malformed(error) => Fact::TableMalformed(name, error.to_string()),
        }
    }

    fn read(&self) -> Option<&T> {
        match self {
            Self::Read(table) => Some(table),
            _ => None,
        }
    }
}

impl IvrsTable {
    pub(super) fn of_ivrs(reading: &Reading<HexBytes>) -> Self {
        Self::of(reading, |bytes| {
            let ivrs = Ivrs::parse(bytes)?;
            let view = KernelView::new(&ivrs);
            Ok((ivrs, view))
        })
    }

    /// The table, if there is a readable one.
    #[must_use]
    pub fn ivrs(&self) -> Option<&Ivrs> {
        self.read().map(|read| &read.0)
    }

    /// What the kernel makes of it.
    #[must_use]
    pub fn view(&self) -> Option<&KernelView> {
        self.read().map(|read| &read.1)
    }
}

impl DmarTable {
    pub(super) fn of_dmar(reading: &Reading<HexBytes>) -> Self {
        Self::of(reading, Dmar::parse)
    }

    /// The table, if there is a readable one.
    #[must_use]
    pub fn dmar(&self) -> Option<&Dmar> {
        self.read()
    }
}
