//! ZIP archives, written front to back: members are stored as they are, and nothing of them is kept in memory.
//!
//! Crates that write archives hold the directory, which comes last, until then; here it is made anew from what the
//! caller has noted of each member. Size and checksum are known before a member is written, so they are in front of
//! it, where readers of streams look. ZIP64 is used only where a number is too large without.

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Version of the format that a reader must know: folders, and ZIP64.
const PLAIN: u16 = 20;
const LARGE: u16 = 45;

/// Made on Unix, where names are UTF-8 and permissions mean something.
const MADE_BY: u16 = 3 << 8 | LARGE;
const UTF_8: u16 = 1 << 11;
const STORED: u16 = 0;
const PERMISSIONS: u32 = 0o100_644 << 16;

/// The beginning of 1980, the earliest time there is: the same content makes the same archive.
const TIME: u16 = 0;
const DATE: u16 = 1 << 5 | 1;

/// Identifier of the extra field that holds large numbers.
const ZIP_64: u16 = 1;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path within the archive.
    pub name: String,
    /// CRC-32 of its bytes.
    pub checksum: u32,
    /// Number of its bytes.
    pub size: u64,
    /// Bytes of the archive before its header.
    pub offset: u64,
}

impl Member {
    /// What stands in the archive before the member's bytes.
    pub fn header(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        // Here both sizes must be large if one is, and both are the same.
        if is_large(self.size) {
            extra.extend([self.size, self.size].map(u64::to_le_bytes).concat());
        }
        let mut bytes = Vec::with_capacity(30 + self.name.len());
        put(&mut bytes, LOCAL.to_le_bytes());
        self.common(&mut bytes, &extra);
        bytes.extend(self.name.as_bytes());
        bytes.extend(field(&extra));
        bytes
    }

    /// What stands for the member in the directory.
    pub fn directory_entry(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if is_large(self.size) {
            extra.extend([self.size, self.size].map(u64::to_le_bytes).concat());
        }
        if is_large(self.offset) {
            extra.extend(self.offset.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(46 + self.name.len());
        put(&mut bytes, CENTRAL.to_le_bytes());
        put(&mut bytes, MADE_BY.to_le_bytes());
        self.common(&mut bytes, &extra);
        // No comment, the first disk, no properties for programs.
        put(&mut bytes, [0; 6]);
        put(&mut bytes, PERMISSIONS.to_le_bytes());
        put(&mut bytes, small(self.offset).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(field(&extra));
        bytes
    }

    fn common(&self, bytes: &mut Vec<u8>, extra: &[u8]) {
        let version = if extra.is_empty() { PLAIN } else { LARGE };
        let length = |text: &[u8]| u16::try_from(text.len()).unwrap_or(u16::MAX);
        for half in [version, UTF_8, STORED, TIME, DATE] {
            put(bytes, half.to_le_bytes());
        }
        for whole in [self.checksum, small(self.size), small(self.size)] {
            put(bytes, whole.to_le_bytes());
        }
        put(bytes, length(self.name.as_bytes()).to_le_bytes());
        put(bytes, length(&field(extra)).to_le_bytes());
    }
}

/// Where the directory is, and how much is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Directory {
    /// Number of members.
    pub members: u64,
    /// Number of its bytes.
    pub size: u64,
    /// Bytes of the archive before it.
    pub offset: u64,
}

impl Directory {
    /// What stands behind the directory and ends the archive.
    pub fn end(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let few = u16::try_from(self.members).unwrap_or(u16::MAX);
        if few == u16::MAX || is_large(self.size) || is_large(self.offset) {
            self.large_end(&mut bytes);
        }
        put(&mut bytes, END.to_le_bytes());
        put(&mut bytes, [0; 4]);
        put(&mut bytes, few.to_le_bytes());
        put(&mut bytes, few.to_le_bytes());
        put(&mut bytes, small(self.size).to_le_bytes());
        put(&mut bytes, small(self.offset).to_le_bytes());
        put(&mut bytes, [0; 2]);
        bytes
    }

    fn large_end(&self, bytes: &mut Vec<u8>) {
        // Bytes that follow.
        const LENGTH: u64 = 44;
        put(bytes, END_64.to_le_bytes());
        put(bytes, LENGTH.to_le_bytes());
        put(bytes, MADE_BY.to_le_bytes());
        put(bytes, LARGE.to_le_bytes());
        put(bytes, [0; 8]);
        for number in [self.members, self.members, self.size, self.offset] {
            put(bytes, number.to_le_bytes());
        }
        put(bytes, LOCATOR_64.to_le_bytes());
        put(bytes, [0; 4]);
        put(bytes, (self.offset + self.size).to_le_bytes());
        put(bytes, 1_u32.to_le_bytes());
    }
}

fn put<const N: usize>(bytes: &mut Vec<u8>, part: [u8; N]) {
    bytes.extend(part);
}

/// The highest number says that the true one is elsewhere.
fn is_large(number: u64) -> bool {
    number >= u64::from(u32::MAX)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn field(content: &[u8]) -> Vec<u8> {
    if content.is_empty() {
        return Vec::new();
    }
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [
        &ZIP_64.to_le_bytes()[..],
        &length.to_le_bytes()[..],
        content,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufWriter, Seek, SeekFrom, Write};
    use std::process::Command;

    use super::*;

    /// Lets Python's own reader check an archive of these members: a large one of zeros, of which only the length is
    /// written, and then many small ones.
    fn read_by_python(zeros: u64, members: u64, check: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        let (mut offset, mut noted) = (0, Vec::new());
        for n in 0..members {
            let content = if n == 0 {
                Vec::new()
            } else {
                n.to_string().into_bytes()
            };
            let member = Member {
                name: format!("train/ção/{n}"),
                checksum: crc32fast::hash(&content),
                size: if n == 0 { zeros } else { content.len() as u64 },
                offset,
            };
            let header = member.header();
            file.write_all(&header).unwrap();
            file.write_all(&content).unwrap();
            offset += header.len() as u64 + member.size;
            file.seek(SeekFrom::Start(offset)).unwrap();
            noted.push(member);
        }
        let mut directory = Directory {
            offset,
            ..Directory::default()
        };
        for member in noted {
            let entry = member.directory_entry();
            file.write_all(&entry).unwrap();
            directory.members += 1;
            directory.size += entry.len() as u64;
        }
        file.write_all(&directory.end()).unwrap();
        file.flush().unwrap();
        let script = format!(
            "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nnames = z.namelist()\n\
             assert len(names) == {members}, len(names)\n\
             assert all(n == f'train/ção/{{i}}' for i, n in enumerate(names)), names[:3]\n{check}"
        );
        let ran = Command::new("python3")
            .args(["-c", &script, path.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
    }

    #[test]
    fn another_reader_finds_every_byte() {
        read_by_python(
            0,
            300,
            "assert z.testzip() is None\nassert z.read(names[299]) == b'299'",
        );
        read_by_python(0, 1, "assert z.testzip() is None");
    }

    #[test]
    fn more_members_than_16_bits_can_count() {
        for members in [65_534, 65_535, 65_536, 70_000] {
            read_by_python(
                0,
                members,
                "assert z.read(names[-1]) == str(len(names) - 1).encode()",
            );
        }
    }

    #[test]
    fn more_bytes_than_32_bits_can_count() {
        let last = "assert z.infolist()[0].file_size == zeros\nassert z.read(names[9]) == b'9'";
        for zeros in [u64::from(u32::MAX) - 1, u64::from(u32::MAX), 5 << 30] {
            read_by_python(zeros, 10, &format!("zeros = {zeros}\n{last}"));
        }
    }
}
