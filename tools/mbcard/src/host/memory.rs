// SPDX-License-Identifier: GPL-2.0

//! Guest memory by the addresses that the card uses.
//!
//! QEMU says which addresses are mapped, and to what part of which file. Behind a virtual IOMMU that is a
//! mapping for each buffer or so; hence a file is mapped here once, as a whole, and a mapping only
//! points into it.
//!
//! [`Memory`] upholds: mappings do not overlap, and each lies within its file. What is not mapped, or not
//! with that access, is not touched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::Bytes;
use vm_memory::FileOffset;
use vm_memory::MmapRegion;
use vm_memory::VolatileMemory;
use vm_memory::VolatileSlice;

use crate::card::Unmapped;

/// What is done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// See the head of the file.
#[derive(Default)]
pub struct Memory {
    /// By first address.
    mappings: BTreeMap<u64, Mapping>,
    files: Vec<MappedFile>,
}

#[derive(Clone)]
struct Mapping {
    size: u64,
    file: Arc<MmapRegion>,
    /// Where in the file it begins.
    offset: u64,
    read: bool,
    write: bool,
}

struct MappedFile {
    device: u64,
    inode: u64,
    memory: Arc<MmapRegion>,
}

impl Memory {
    /// Maps `size` bytes at `address` to those at `offset` of a file. What was mapped there before is not
    /// any more.
    pub fn map(
        &mut self,
        address: u64,
        size: u64,
        file: File,
        offset: u64,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        if size == 0 || address.checked_add(size - 1).is_none() {
            return Err(invalid("mapping is empty or wraps around"));
        }
        let file = self.file(file)?;
        let length = u64::try_from(file.size()).unwrap_or(u64::MAX);
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(invalid("mapping reaches past the end of its file"));
        }
        self.unmap(address, size);
        let mapping = Mapping {
            size,
            file,
            offset,
            read,
            write,
        };
        self.mappings.insert(address, mapping);
        Ok(())
    }

    /// Unmaps `size` bytes at `address`. Of a mapping that lies there in part the rest stays.
    pub fn unmap(&mut self, address: u64, size: u64) {
        let Some(last) = size.checked_sub(1).map(|size| address.saturating_add(size)) else {
            return;
        };
        let before = self.mappings.range(..address).next_back();
        let first = before.map_or(address, |(start, _)| *start);
        let hit: Vec<u64> = self
            .mappings
            .range(first..=last)
            .filter(|(start, mapping)| *start + (mapping.size - 1) >= address)
            .map(|(start, _)| *start)
            .collect();
        for start in hit {
            let Some(mapping) = self.mappings.remove(&start) else {
                continue;
            };
            let end = start + (mapping.size - 1);
            if start < address {
                let mut left = mapping.clone();
                left.size = address - start;
                self.mappings.insert(start, left);
            }
            if end > last {
                let mut right = mapping;
                let cut = last - start + 1;
                right.size -= cut;
                right.offset += cut;
                self.mappings.insert(last + 1, right);
            }
        }
    }

    /// Unmaps all.
    pub fn clear(&mut self) {
        self.mappings.clear();
    }

    /// Reads all these bytes or none.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), Unmapped> {
        let mut data = data;
        for slice in self.slices(address, data.len(), Access::Read)? {
            let (here, rest) = data.split_at_mut(slice.len());
            slice.copy_to(here);
            data = rest;
        }
        Ok(())
    }

    /// Writes all these bytes or none.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), Unmapped> {
        let mut data = data;
        for slice in self.slices(address, data.len(), Access::Write)? {
            let (here, rest) = data.split_at(slice.len());
            slice.copy_from(here);
            data = rest;
        }
        Ok(())
    }

    /// Writes an aligned word after all that was written before.
    pub fn publish(&self, address: u64, word: u32) -> Result<(), Unmapped> {
        match self.slices(address, 4, Access::Write)?.as_slice() {
            [slice] => slice
                .store(word, 0, Ordering::Release)
                .map_err(|_| Unmapped),
            _ => Err(Unmapped),
        }
    }

    /// Whether all these bytes are mapped for that access.
    pub fn reaches(&self, address: u64, length: u64, access: Access) -> bool {
        usize::try_from(length).is_ok_and(|length| self.slices(address, length, access).is_ok())
    }

    /// The parts of files that these bytes are, in order.
    fn slices(
        &self,
        address: u64,
        length: usize,
        access: Access,
    ) -> Result<Vec<VolatileSlice<'_, impl BitmapSlice>>, Unmapped> {
        let mut slices = Vec::with_capacity(1);
        let mut done = 0;
        while done < length {
            let at = u64::try_from(done).map_err(|_| Unmapped)?;
            let at = address.checked_add(at).ok_or(Unmapped)?;
            let (start, mapping) = self.mappings.range(..=at).next_back().ok_or(Unmapped)?;
            let into = at - start;
            let left = mapping.size.checked_sub(into).filter(|left| *left != 0);
            let left = usize::try_from(left.ok_or(Unmapped)?).unwrap_or(usize::MAX);
            let allowed = match access {
                Access::Read => mapping.read,
                Access::Write => mapping.write,
            };
            if !allowed {
                return Err(Unmapped);
            }
            let here = left.min(length - done);
            let offset = usize::try_from(mapping.offset + into).map_err(|_| Unmapped)?;
            let slice = mapping.file.get_slice(offset, here);
            slices.push(slice.map_err(|_| Unmapped)?);
            done += here;
        }
        Ok(slices)
    }

    /// The file's memory, mapped now unless it was before.
    fn file(&mut self, file: File) -> io::Result<Arc<MmapRegion>> {
        let metadata = file.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let known = self.files.iter().find(|known| {
            // A file that has grown since is mapped anew.
            known.device == device
                && known.inode == inode
                && u64::try_from(known.memory.size()).is_ok_and(|size| size == metadata.len())
        });
        if let Some(known) = known {
            return Ok(known.memory.clone());
        }
        let size = usize::try_from(metadata.len()).map_err(io::Error::other)?;
        let memory = MmapRegion::from_file(FileOffset::new(file, 0), size);
        let memory = Arc::new(memory.map_err(io::Error::other)?);
        self.files.push(MappedFile {
            device,
            inode,
            memory: memory.clone(),
        });
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const PAGE: u64 = 4096;

    /// A file in memory, each page filled with its number.
    fn file(pages: u8) -> File {
        let file = tempfile::tempfile().unwrap();
        for page in 0..pages {
            let offset = u64::from(page) * PAGE;
            file.write_all_at(&[page; 4096], offset).unwrap();
        }
        file
    }

    fn byte(memory: &Memory, address: u64) -> Option<u8> {
        let mut byte = [0];
        memory.read(address, &mut byte).ok().map(|()| byte[0])
    }

    #[test]
    fn accesses_span_mappings_in_any_order_of_the_file() {
        let file = file(4);
        let mut memory = Memory::default();
        for (n, page) in [3, 0, 2].into_iter().enumerate() {
            let address = 0x10000 + n as u64 * PAGE;
            let file = file.try_clone().unwrap();
            memory
                .map(address, PAGE, file, page * PAGE, true, true)
                .unwrap();
        }
        assert_eq!(memory.files.len(), 1);
        let mut data = [9; 4096 + 4];
        memory.read(0x10000 + PAGE - 2, &mut data).unwrap();
        assert_eq!(data[..3], [3, 3, 0]);
        assert_eq!(data[4096..], [0, 0, 2, 2]);
        memory.write(0x10000 + PAGE - 1, &[7, 8]).unwrap();
        let mut bytes = [0; 1];
        file.read_exact_at(&mut bytes, 3 * PAGE + PAGE - 1).unwrap();
        assert_eq!(bytes, [7]);
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [8]);
    }

    #[test]
    fn what_is_not_mapped_is_not_touched() {
        let file = file(2);
        let mut memory = Memory::default();
        memory
            .map(PAGE, PAGE, file.try_clone().unwrap(), 0, true, true)
            .unwrap();
        assert_eq!(memory.write(2 * PAGE - 2, &[5; 4]), Err(Unmapped));
        assert_eq!(byte(&memory, 2 * PAGE - 2), Some(0));
        assert_eq!(byte(&memory, PAGE - 1), None);
        assert_eq!(byte(&memory, 2 * PAGE), None);
        assert_eq!(byte(&memory, u64::MAX), None);
        assert_eq!(memory.read(u64::MAX - 1, &mut [0; 8]), Err(Unmapped));
        assert!(memory.reaches(PAGE, PAGE, Access::Write));
        assert!(!memory.reaches(PAGE, PAGE + 1, Access::Write));
        assert!(!memory.reaches(PAGE, u64::MAX, Access::Read));
    }

    #[test]
    fn the_last_byte_of_the_address_space_can_be_mapped() {
        let file = file(1);
        let mut memory = Memory::default();
        memory
            .map(u64::MAX - (PAGE - 1), PAGE, file, 0, true, true)
            .unwrap();
        assert_eq!(memory.write(u64::MAX, &[1]), Ok(()));
        assert_eq!(byte(&memory, u64::MAX), Some(1));
        memory.unmap(0, u64::MAX);
        assert_eq!(byte(&memory, u64::MAX), Some(1));
        memory.unmap(u64::MAX, 1);
        assert_eq!(byte(&memory, u64::MAX), None);
        assert_eq!(byte(&memory, u64::MAX - 1), None);
    }

    #[test]
    fn access_rights_hold() {
        let file = file(2);
        let mut memory = Memory::default();
        memory
            .map(0, PAGE, file.try_clone().unwrap(), 0, true, false)
            .unwrap();
        memory.map(PAGE, PAGE, file, PAGE, false, true).unwrap();
        assert_eq!(memory.write(0, &[1]), Err(Unmapped));
        assert_eq!(memory.publish(0, 1), Err(Unmapped));
        assert_eq!(memory.read(PAGE, &mut [0]), Err(Unmapped));
        assert_eq!(memory.write(PAGE, &[1]), Ok(()));
    }

    #[test]
    fn mappings_that_make_no_sense_are_refused() {
        let mut memory = Memory::default();
        for (address, size, offset) in [
            (0, 0, 0),
            (0, 2 * PAGE, PAGE),
            (0, PAGE, u64::MAX),
            (u64::MAX, 2, 0),
        ] {
            assert!(memory
                .map(address, size, file(2), offset, true, true)
                .is_err());
        }
        assert!(memory.mappings.is_empty());
    }

    #[test]
    fn unmapping_a_part_leaves_the_rest() {
        let mut memory = Memory::default();
        memory.map(0, 4 * PAGE, file(4), 0, true, true).unwrap();
        memory.unmap(PAGE, 2 * PAGE);
        assert_eq!(byte(&memory, PAGE - 1), Some(0));
        assert_eq!(byte(&memory, PAGE), None);
        assert_eq!(byte(&memory, 3 * PAGE - 1), None);
        assert_eq!(byte(&memory, 3 * PAGE), Some(3));
        memory.unmap(0, u64::MAX);
        assert!(memory.mappings.is_empty());
    }

    #[test]
    fn mapping_anew_replaces() {
        let file = file(4);
        let mut memory = Memory::default();
        memory
            .map(0, 3 * PAGE, file.try_clone().unwrap(), 0, true, true)
            .unwrap();
        memory.map(PAGE, PAGE, file, 3 * PAGE, true, true).unwrap();
        let seen = [0, PAGE, 2 * PAGE].map(|address| byte(&memory, address));
        assert_eq!(seen, [Some(0), Some(3), Some(2)]);
    }

    #[test]
    fn a_word_is_published_whole_and_aligned() {
        let mut memory = Memory::default();
        memory.map(0, PAGE, file(1), 0, true, true).unwrap();
        assert_eq!(memory.publish(8, 0x0403_0201), Ok(()));
        let mut data = [0; 4];
        memory.read(8, &mut data).unwrap();
        assert_eq!(u32::from_ne_bytes(data), 0x0403_0201);
        assert_eq!(memory.publish(9, 0), Err(Unmapped));
    }
}
