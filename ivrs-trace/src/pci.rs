//! PCI addresses as the kernel and the IVRS write them: segment, 16-bit devid, and both together.
//!
//! Only names of places: nothing here says whether a device exists.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The text is not a PCI address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a PCI address (expected SSSS:BB:DD.F or BB:DD.F in hex, like 0000:01:00.0)"
)]
pub struct ParseBdfError {
    /// The text as it was given, whole.
    pub text: String,
}

/// The text is not a 16-bit number such as `0x00a0`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a 16-bit number in hex (like 0x00a0)")]
pub struct ParseHexError {
    /// The text as it was given, whole.
    pub text: String,
}

fn parse_hex_u16(text: &str) -> Result<u16, ParseHexError> {
    let error = || ParseHexError { text: text.to_owned() };
    let digits = text.strip_prefix("0x").ok_or_else(error)?;
    hex(digits, 4).map_err(|_| error())
}

/// Digits only: `from_str_radix` alone would take a sign.
fn hex(digits: &str, at_most: usize) -> Result<u16, Option<ParseIntError>> {
    if digits.is_empty() || digits.len() > at_most || !digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(None);
    }
    u16::from_str_radix(digits, 16).map_err(Some)
}

/// Bus, device and function in 16 bits (8, 5 and 3), as the IVRS and the IOMMU name a requester.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Devid(pub u16);

impl Devid {
    /// The devid of a bus, a device (0 to 31) and a function (0 to 7); `None` beyond those.
    #[must_use]
    pub fn new(bus: u8, device: u8, function: u8) -> Option<Self> {
        (device < 32 && function < 8)
            .then(|| Self(u16::from(bus) << 8 | u16::from(device) << 3 | u16::from(function)))
    }

    /// The bus number.
    #[must_use]
    pub fn bus(self) -> u8 {
        let [bus, _] = self.0.to_be_bytes();
        bus
    }

    /// The device number, 0 to 31.
    #[must_use]
    pub fn device(self) -> u8 {
        let [_, devfn] = self.0.to_be_bytes();
        devfn >> 3
    }

    /// The function number, 0 to 7.
    #[must_use]
    pub fn function(self) -> u8 {
        let [_, devfn] = self.0.to_be_bytes();
        devfn & 7
    }
}

/// `01:00.0`.
impl fmt::Display for Devid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

impl From<Devid> for String {
    fn from(devid: Devid) -> Self {
        format!("{:#06x}", devid.0)
    }
}

impl TryFrom<String> for Devid {
    type Error = ParseHexError;

    fn try_from(text: String) -> Result<Self, ParseHexError> {
        parse_hex_u16(&text).map(Self)
    }
}

/// A PCI segment (the kernel's PCI domain).
///
/// Domains above 0xffff, which the kernel invents for Intel VMD, have no segment number and are
/// never named by an IVRS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Segment(pub u16);

/// `0000`.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl From<Segment> for String {
    fn from(segment: Segment) -> Self {
        format!("{:#06x}", segment.0)
    }
}

impl TryFrom<String> for Segment {
    type Error = ParseHexError;

    fn try_from(text: String) -> Result<Self, ParseHexError> {
        parse_hex_u16(&text).map(Self)
    }
}

/// The full address of a PCI function. Ordered by segment, then bus, device, function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Bdf {
    /// The PCI segment.
    pub segment: Segment,
    /// Bus, device and function inside the segment.
    pub devid: Devid,
}

impl Bdf {
    /// The address of `devid` in `segment`.
    #[must_use]
    pub const fn new(segment: Segment, devid: Devid) -> Self {
        Self { segment, devid }
    }

    /// From the 32 bits in which the AMD driver holds both: the segment in the upper half
    /// (`PCI_SEG_DEVID_TO_SBDF`, `drivers/iommu/amd/amd_iommu_types.h`).
    #[must_use]
    pub fn from_sbdf(sbdf: u32) -> Self {
        let [segment_high, segment_low, bus, devfn] = sbdf.to_be_bytes();
        Self::new(
            Segment(u16::from_be_bytes([segment_high, segment_low])),
            Devid(u16::from_be_bytes([bus, devfn])),
        )
    }
}

/// `0000:01:00.0`, as in sysfs.
impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.devid)
    }
}

/// With or without the segment, which is then 0.
impl FromStr for Bdf {
    type Err = ParseBdfError;

    fn from_str(text: &str) -> Result<Self, ParseBdfError> {
        let parse = || {
            let (rest, function) = text.rsplit_once('.')?;
            let (rest, device) = rest.rsplit_once(':')?;
            let (segment, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
            let part = |digits, at_most| hex(digits, at_most).ok();
            let small = |digits, at_most| u8::try_from(part(digits, at_most)?).ok();
            let devid = Devid::new(small(bus, 2)?, small(device, 2)?, small(function, 1)?)?;
            Some(Self::new(Segment(part(segment, 4)?), devid))
        };
        parse().ok_or_else(|| ParseBdfError { text: text.to_owned() })
    }
}

impl From<Bdf> for String {
    fn from(bdf: Bdf) -> Self {
        bdf.to_string()
    }
}

impl TryFrom<String> for Bdf {
    type Error = ParseBdfError;

    fn try_from(text: String) -> Result<Self, ParseBdfError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_addresses_with_and_without_segment() {
        let bdf: Bdf = "0000:c4:00.7".parse().unwrap();
        assert_eq!(bdf, Bdf::new(Segment(0), Devid(0xc407)));
        assert_eq!("c4:00.7".parse(), Ok(bdf));
        assert_eq!("1:2:1f.3".parse(), Ok(Bdf::new(Segment(1), Devid(0x02fb))));
    }

    #[test]
    fn refuses_what_is_not_an_address() {
        for text in [
            "",
            "0",
            "01:00",
            "01:00.8",
            "01:20.0",
            "100:00.0",
            "10000:e0:06.0",
            "0000:01:00.0 ",
            "+1:00.0",
            "MSFT0201:00",
            ":01:00.0",
            "0:0:01:00.0",
            "01:00.",
            "01:00.00",
            "é1:00.0",
        ] {
            let error = text.parse::<Bdf>().unwrap_err();
            assert_eq!(error.text, text);
            assert!(error.to_string().contains("is not a PCI address"), "{error}");
        }
    }

    #[test]
    fn is_plain_text_in_json() {
        let bdf = Bdf::new(Segment(1), Devid(0x0100));
        let json = serde_json::to_string(&(bdf, bdf.segment, bdf.devid)).unwrap();
        assert_eq!(json, r#"["0001:01:00.0","0x0001","0x0100"]"#);
        assert_eq!(
            serde_json::from_str::<(Bdf, Segment, Devid)>(&json).unwrap(),
            (bdf, bdf.segment, bdf.devid)
        );
        assert!(serde_json::from_str::<Devid>(r#""0x+100""#).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(segment: u16, devid: u16) {
            let bdf = Bdf::new(Segment(segment), Devid(devid));
            prop_assert_eq!(bdf.to_string().parse(), Ok(bdf));
            let d = bdf.devid;
            prop_assert_eq!(Devid::new(d.bus(), d.device(), d.function()), Some(d));
        }

        #[test]
        fn any_text_is_an_answer_not_a_panic(text in ".*") {
            let _ = text.parse::<Bdf>();
        }
    }
}
