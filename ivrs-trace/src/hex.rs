//! Numbers and bytes of firmware and memory in hex, as JSON and text have them.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fmt::hex_bytes;

/// A number that is written as `0x…`, of so many digits at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex<T, const DIGITS: usize = 1>(pub T);

impl<T: fmt::LowerHex, const DIGITS: usize> fmt::Display for Hex<T, DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#0width$x}", self.0, width = DIGITS + 2)
    }
}

impl<T: fmt::LowerHex, const DIGITS: usize> Serialize for Hex<T, DIGITS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes that are written as two hex digits each, with blanks between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex_bytes(&self.0))
    }
}
