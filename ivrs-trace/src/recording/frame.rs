//! The framing: the header of the file, the header of each section, CRCs, compression.
//!
//! Numbers are little-endian. A section can be checked and skipped without knowing what is in it.

use ruzstd::{
    decoding::FrameDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};
use thiserror::Error;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

use super::{Kind, MAX_RATIO, MAX_SECTION};

/// How a file begins. Like PNG's, it shows whether a transfer took the file for text.
pub const MAGIC: [u8; 8] = *b"\x89IVT\r\n\x1a\n";
/// The version of the framing; a file of another one is not read.
pub const VERSION: u16 = 1;
/// The flag of a section whose content is one zstd frame.
pub const ZSTD: u16 = 1;
/// Smaller sections are stored as they are.
const WORTH_PACKING: usize = 256;
/// Bytes of a window that are allowed whatever the content has: what packs has its own idea of it.
const MIN_WINDOW: usize = 1024 * 1024;

/// The start of the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHeader {
    /// [`MAGIC`]
    pub magic: [u8; 8],
    /// [`VERSION`]
    pub version: U16,
    /// Zero.
    pub reserved: U16,
    /// CRC-32 of the 12 bytes before.
    pub crc: U32,
}

/// The start of a section; its content follows at once.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SectionHeader {
    /// What is in it.
    pub kind: U16,
    /// [`ZSTD`]; a section with another flag is skipped like one of an unknown kind.
    pub flags: U16,
    /// Bytes of the content as it is stored.
    pub stored: U32,
    /// Bytes of the content when it is unpacked; the same if it is not packed.
    pub unpacked: U32,
    /// CRC-32 of the content as it is stored.
    pub content_crc: U32,
    /// CRC-32 of the 16 bytes before.
    pub header_crc: U32,
}

/// Bytes of a [`FileHeader`].
pub const FILE_HEADER: usize = size_of::<FileHeader>();
/// Bytes of a [`SectionHeader`].
pub const SECTION_HEADER: usize = size_of::<SectionHeader>();

const _: () = assert!(FILE_HEADER == 16 && SECTION_HEADER == 20);

/// Why a section cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The header does not match its CRC.
    #[error("its header is damaged")]
    Header,
    /// It is larger than any section may be.
    #[error("it says that it has {0} bytes, more than any section may have")]
    TooLarge(u32),
    /// The content does not match its CRC.
    #[error("its content is damaged")]
    Content,
    /// It does not unpack to what its header says.
    #[error("its content cannot be unpacked")]
    Unpack,
}

impl FileHeader {
    /// The header of a file of this version.
    #[must_use]
    pub fn new() -> Self {
        let mut header =
            Self { magic: MAGIC, version: VERSION.into(), reserved: 0.into(), crc: 0.into() };
        header.crc = header.checksum().into();
        header
    }

    /// CRC-32 of what is before it.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32fast::hash(bytes.get(..FILE_HEADER - 4).unwrap_or(bytes))
    }
}

impl Default for FileHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl SectionHeader {
    /// Checks it, before anything that it says is relied on.
    ///
    /// # Errors
    /// If it is damaged, or says more than a section may have.
    pub fn check(&self) -> Result<(), FrameError> {
        if self.header_crc.get() != self.checksum() {
            return Err(FrameError::Header);
        }
        for length in [self.stored, self.unpacked] {
            if length_of(length) > MAX_SECTION {
                return Err(FrameError::TooLarge(length.get()));
            }
        }
        let most = length_of(self.stored).saturating_add(SECTION_HEADER).saturating_mul(MAX_RATIO);
        if length_of(self.unpacked) > most {
            return Err(FrameError::TooLarge(self.unpacked.get()));
        }
        Ok(())
    }

    /// What is in it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind(self.kind.get())
    }

    /// Bytes of the content as it is stored.
    #[must_use]
    pub fn stored(&self) -> usize {
        length_of(self.stored)
    }

    fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32fast::hash(bytes.get(..SECTION_HEADER - 4).unwrap_or(bytes))
    }
}

fn length_of(length: U32) -> usize {
    usize::try_from(length.get()).unwrap_or(usize::MAX)
}

/// A section in as few bytes as may be, header and content; nothing if it is larger than one may be.
#[must_use]
pub fn pack(kind: Kind, content: &[u8]) -> Option<Vec<u8>> {
    let worth = (WORTH_PACKING..=MAX_SECTION).contains(&content.len());
    match worth.then(|| compress(content)).flatten() {
        Some(packed) => section(kind, ZSTD, &packed, content.len()),
        None => store(kind, content),
    }
}

/// The same, not packed.
#[must_use]
pub fn store(kind: Kind, content: &[u8]) -> Option<Vec<u8>> {
    section(kind, 0, content, content.len())
}

fn section(kind: Kind, flags: u16, stored: &[u8], unpacked: usize) -> Option<Vec<u8>> {
    if unpacked > MAX_SECTION || stored.len() > MAX_SECTION {
        return None;
    }
    let mut header = SectionHeader {
        kind: kind.0.into(),
        flags: flags.into(),
        stored: u32::try_from(stored.len()).ok()?.into(),
        unpacked: u32::try_from(unpacked).ok()?.into(),
        content_crc: crc32fast::hash(stored).into(),
        header_crc: 0.into(),
    };
    header.header_crc = header.checksum().into();
    let mut frame = Vec::with_capacity(SECTION_HEADER + stored.len());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(stored);
    Some(frame)
}

/// The content as a zstd frame, if that is smaller, within [`MAX_RATIO`] and comes out as it went in.
fn compress(content: &[u8]) -> Option<Vec<u8>> {
    let packed = compress_to_vec(content, CompressionLevel::Fastest);
    let within = packed.len().saturating_mul(MAX_RATIO) >= content.len();
    // What is written once may never be seen again: so it is unpacked once before.
    let same = || Unpacker::default().run(&packed, content.len()).is_ok_and(|back| back == content);
    (packed.len() < content.len() && within && same()).then_some(packed)
}

/// Unpacks contents.
pub struct Unpacker(FrameDecoder);

impl Default for Unpacker {
    fn default() -> Self {
        Self(FrameDecoder::new())
    }
}

impl Unpacker {
    /// Checks the content of a section and unpacks it.
    ///
    /// # Errors
    /// If it is not what its header says.
    pub fn content(
        &mut self,
        header: &SectionHeader,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, FrameError> {
        if crc32fast::hash(&stored) != header.content_crc.get() {
            return Err(FrameError::Content);
        }
        let length = length_of(header.unpacked);
        if header.flags.get() & ZSTD != 0 {
            return self.run(&stored, length);
        }
        (stored.len() == length).then_some(stored).ok_or(FrameError::Unpack)
    }

    fn run(&mut self, packed: &[u8], length: usize) -> Result<Vec<u8>, FrameError> {
        let mut content = vec![0; length];
        // Memory for the window is taken before anything is unpacked.
        let window = length.next_power_of_two().max(MIN_WINDOW);
        self.0.set_max_window_size(u64::try_from(window).unwrap_or(u64::MAX));
        match self.0.decode_all(packed, &mut content) {
            Ok(unpacked) if unpacked == length => Ok(content),
            _ => Err(FrameError::Unpack),
        }
    }
}
