// SPDX-License-Identifier: GPL-2.0

//! The eventfds behind the card's MSI-X vectors.

use std::fs::File;
use std::io::ErrorKind;
use std::io::Write;

use mbcard_regs::VECTORS;

/// One eventfd for each vector that somebody listens to.
#[derive(Default)]
pub struct Interrupts {
    vectors: [Option<File>; VECTORS],
}

impl Interrupts {
    /// Replaces the listeners of `count` vectors from `start` on; those beyond the end of `files` have none
    /// any more.
    pub fn set(&mut self, start: usize, count: usize, files: Vec<File>) {
        let files = files
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let vectors = self.vectors.iter_mut().skip(start).take(count);
        for (vector, file) in vectors.zip(files) {
            *vector = file;
        }
    }

    /// Takes all listeners away.
    pub fn clear(&mut self) {
        self.vectors = Default::default();
    }

    /// Raises a vector; false if nobody listens.
    pub fn raise(&self, vector: usize) -> bool {
        let Some(Some(mut file)) = self.vectors.get(vector).map(Option::as_ref) else {
            return false;
        };
        match file.write_all(&1_u64.to_ne_bytes()) {
            Ok(()) => true,
            // The eventfd's counter is full: the interrupt is pending as it is.
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::FromRawFd;
    use std::os::fd::IntoRawFd;
    use vmm_sys_util::eventfd::EventFd;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    fn listener() -> (EventFd, File) {
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        let file = event.try_clone().unwrap().into_raw_fd();
        // SAFETY: the clone gave its descriptor away, so the file is its only owner.
        (event, unsafe { File::from_raw_fd(file) })
    }

    #[test]
    fn vectors_are_raised_apart() {
        let mut interrupts = Interrupts::default();
        let (first, first_file) = listener();
        let (second, second_file) = listener();
        interrupts.set(3, 2, vec![first_file, second_file]);
        assert!(!interrupts.raise(2));
        assert!(interrupts.raise(4));
        assert!(interrupts.raise(4));
        assert_eq!(second.read().unwrap(), 2);
        assert!(first.read().is_err());
    }

    #[test]
    fn listeners_can_be_taken_away() {
        let mut interrupts = Interrupts::default();
        let (_event, file) = listener();
        interrupts.set(0, 1, vec![file]);
        interrupts.set(0, VECTORS + 5, vec![]);
        assert!(!interrupts.raise(0));
        let (_event, file) = listener();
        interrupts.set(VECTORS - 1, 1, vec![file]);
        assert!(interrupts.raise(VECTORS - 1));
        interrupts.clear();
        assert!(!interrupts.raise(VECTORS - 1));
        assert!(!interrupts.raise(usize::MAX));
    }

    #[test]
    fn a_full_counter_is_pending() {
        let mut interrupts = Interrupts::default();
        let (event, file) = listener();
        event.write(u64::MAX - 1).unwrap();
        interrupts.set(0, 1, vec![file]);
        assert!(interrupts.raise(0));
    }
}
