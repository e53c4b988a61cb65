// SPDX-License-Identifier: GPL-2.0

//! What a hostile card knows of the driver: which buffers it was given, and which words the driver can only
//! refuse.
//!
//! It upholds: while no ring was derailed, a handle for which [`Books::may_pass`] says no is not on the card for
//! that group when the driver reads it, however late that is.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;

use mbcard_regs as regs;
use mbcard_regs::FreeEntry;

/// Returned buffers, and cookies, that are remembered.
const REMEMBERED: usize = 1024;

/// A buffer that the card has taken from its ring; of the large ring, or of the small one.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub entry: FreeEntry,
    pub large: bool,
}

/// What is known of one group.
#[derive(Clone, Debug, Default)]
struct Group {
    /// What the card has, by handle.
    held: HashMap<u32, FreeEntry>,
    /// How far the free rings were looked at, the small one first.
    seen: [u16; 2],
    /// What was returned, the last at the end.
    returned: VecDeque<Drawn>,
    /// The handles that the driver may give next for what was returned, and that it has not given yet: by the
    /// time it reads a word it may have. The driver counts the trips of a buffer in the lowest bits, and one up
    /// the stack between two to the card is a trip, too.
    due: HashSet<u32>,
    /// Those of them that the card has returned already.
    foretold: HashSet<u32>,
    /// The handle under which each buffer was returned last before the card was hostile, by address.
    before: HashMap<u64, u32>,
    /// Buffers that the card does not return, less those handles; of the small ring and of the large one.
    withheld: [u32; 2],
    /// What is returned later.
    late: VecDeque<Drawn>,
}

/// The handles that may follow a handle.
fn nexts(handle: u32) -> impl Iterator<Item = u32> {
    [1, 2]
        .into_iter()
        .map(move |trips| handle.wrapping_add(trips))
}

/// Whether a word may be the handle of a buffer's first trip, which the card has not seen: trips are counted from 1 on, in
/// eight bits at least where this card is used.
fn is_first(word: u32) -> bool {
    word & 0xff == 1
}

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub struct Books {
    groups: [Group; regs::GROUPS],
    /// First and last address of what the card has, of all groups.
    spans: BTreeMap<u64, u64>,
    cookies: VecDeque<u32>,
    twice: u32,
}

impl Books {
    /// The card has what its rings hold from these indices on, the small one's first, and nothing else.
    pub fn begin(&mut self, group: usize, seen: [u16; 2]) {
        self.drop_held(group);
        if let Some(group) = self.groups.get_mut(group) {
            group.seen = seen;
            // The driver may have any of them where the card does not see it.
            let before = group.before.drain();
            group
                .due
                .extend(before.flat_map(|(_, handle)| nexts(handle)));
        }
    }

    /// The card, not being hostile, has returned a buffer.
    pub fn returned_in_peace(&mut self, group: usize, entry: &FreeEntry) {
        if let Some(group) = self.groups.get_mut(group) {
            group.before.insert(entry.address, entry.handle);
        }
    }

    /// The card has forgotten the group's buffers.
    pub fn forget(&mut self, group: usize) {
        self.drop_held(group);
        if let Some(group) = self.groups.get_mut(group) {
            *group = Group::default();
        }
    }

    fn drop_held(&mut self, group: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            for (_, entry) in group.held.drain() {
                self.spans.remove(&entry.address);
            }
            group.late.clear();
        }
    }

    /// How far a free ring was looked at.
    pub fn seen(&self, group: usize, large: bool) -> u16 {
        let group = self.groups.get(group);
        group.map_or(0, |group| group.seen[usize::from(large)])
    }

    /// The driver gave these buffers, and the ring was looked at up to there.
    pub fn give(&mut self, group: usize, large: bool, entries: &[FreeEntry], seen: u16) {
        let Some(group) = self.groups.get_mut(group) else {
            return;
        };
        group.seen[usize::from(large)] = seen;
        for entry in entries {
            for handle in nexts(entry.handle.wrapping_sub(2)).chain(nexts(entry.handle)) {
                group.due.remove(&handle);
            }
            let is_foretold = group.foretold.remove(&entry.handle);
            let is_twice = group.held.insert(entry.handle, *entry).is_some();
            let last = entry
                .address
                .saturating_add(u64::from(entry.size.saturating_sub(1)));
            let below = self.spans.range(..=last).next_back();
            if is_foretold {
                // Whether the driver has believed the handle is not known, nor what it gives then.
                continue;
            }
            if is_twice || below.is_some_and(|(_, end)| *end >= entry.address) {
                self.twice = self.twice.wrapping_add(1);
            } else {
                self.spans.insert(entry.address, last);
            }
        }
    }

    /// The card has returned a buffer.
    pub fn take_back(&mut self, group: usize, drawn: Drawn) {
        let entry = drawn.entry;
        let Some(group) = self.groups.get_mut(group) else {
            return;
        };
        group.held.remove(&entry.handle);
        self.spans.remove(&entry.address);
        group.due.extend(nexts(entry.handle));
        group.returned.push_back(drawn);
        if group.returned.len() > REMEMBERED {
            group.returned.pop_front();
        }
    }

    /// Whether the driver may take the word for a buffer of the group.
    pub fn may_pass(&self, group: usize, word: u32) -> bool {
        let is_ours = |group: &Group| group.held.contains_key(&word) || group.due.contains(&word);
        is_first(word) || self.groups.get(group).is_some_and(is_ours)
    }

    /// What was returned, the last one first.
    pub fn returned(&self, group: usize, nth: u32) -> Option<FreeEntry> {
        let group = self.groups.get(group)?;
        let count = u32::try_from(group.returned.len()).ok()?;
        let nth = usize::try_from(nth.checked_rem(count)?).ok()?;
        let drawn = group.returned.iter().rev().nth(nth)?;
        Some(drawn.entry)
    }

    /// The handle that the driver gives next for the buffer that was returned last. A driver that believes
    /// it has one place more taken in the free ring, so this needs a buffer of that ring which is withheld: a ring
    /// that runs over would show the card buffers that it cannot tell from such as are given twice.
    pub fn foretell(&mut self, group: usize) -> Option<u32> {
        let group = self.groups.get_mut(group)?;
        let last = group.returned.back()?;
        let next = last.entry.handle.wrapping_add(1);
        if group.held.contains_key(&next) {
            return None;
        }
        let withheld = &mut group.withheld[usize::from(last.large)];
        *withheld = withheld.checked_sub(1)?;
        group.foretold.insert(next);
        Some(next)
    }

    /// The card keeps a buffer of the group for good.
    pub fn withhold(&mut self, group: usize, drawn: Drawn) {
        if let Some(group) = self.groups.get_mut(group) {
            group.withheld[usize::from(drawn.large)] += 1;
        }
    }

    /// Keeps a buffer for later.
    pub fn keep(&mut self, group: usize, drawn: Drawn) {
        if let Some(group) = self.groups.get_mut(group) {
            group.late.push_back(drawn);
        }
    }

    /// How many of the group's are kept for later.
    pub fn late(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.late.len())
    }

    /// One that was kept.
    pub fn unkeep(&mut self, group: usize, nth: usize) -> Option<Drawn> {
        self.groups.get_mut(group)?.late.remove(nth)
    }

    /// The driver was told that a frame was sent.
    pub fn completed(&mut self, cookie: u32) {
        self.cookies.push_back(cookie);
        if self.cookies.len() > REMEMBERED {
            self.cookies.pop_front();
        }
    }

    /// What was completed, the last one first.
    pub fn cookie(&self, nth: u32) -> Option<u32> {
        let count = u32::try_from(self.cookies.len()).ok()?;
        let nth = usize::try_from(nth.checked_rem(count)?).ok()?;
        self.cookies.iter().rev().nth(nth).copied()
    }

    /// Whether the driver may give that cookie soon.
    pub fn is_cookie_due(&self, word: u32) -> bool {
        self.cookies.contains(&word.wrapping_sub(1))
    }

    /// Buffers that the driver gave while the card had them.
    pub fn twice(&self) -> u32 {
        self.twice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: u64, handle: u32) -> FreeEntry {
        FreeEntry {
            address,
            handle,
            size: 256,
        }
    }

    fn drawn(address: u64, handle: u32) -> Drawn {
        let entry = entry(address, handle);
        Drawn { entry, large: true }
    }

    #[test]
    fn what_is_given_and_what_is_due_may_pass() {
        let mut books = Books::default();
        books.give(1, false, &[entry(0x1000, 8)], 1);
        assert!(books.may_pass(1, 8));
        assert!(!books.may_pass(1, 9) && !books.may_pass(2, 8));
        books.take_back(1, drawn(0x1000, 8));
        assert!(!books.may_pass(1, 8), "it is of an earlier trip");
        assert!(books.may_pass(1, 9), "the driver may have given it");
        assert!(books.may_pass(1, 10), "after a trip up the stack");
        assert!(!books.may_pass(1, 11));
        books.give(1, false, &[entry(0x2000, 9)], 2);
        books.take_back(1, drawn(0x2000, 9));
        assert!(!books.may_pass(1, 9));
        assert!(books.may_pass(1, 11));
        books.give(1, false, &[entry(0x1000, 11)], 3);
        assert!(books.may_pass(1, 11));
        assert!(!books.may_pass(1, 10) && !books.may_pass(1, 12));
        assert_eq!(books.returned(1, 0).map(|entry| entry.handle), Some(9));
        assert_eq!(books.returned(1, 3).map(|entry| entry.handle), Some(8));
        books.forget(1);
        assert!(!books.may_pass(1, 10) && books.returned(1, 0).is_none());
    }

    /// A stack may have had it when the card became hostile.
    #[test]
    fn what_was_returned_before_may_pass() {
        let mut books = Books::default();
        books.returned_in_peace(0, &entry(0x1000, 7));
        books.returned_in_peace(0, &entry(0x1000, 19));
        books.returned_in_peace(0, &entry(0x2000, 40));
        books.begin(0, [0, 0]);
        for word in [20, 21, 41, 42] {
            assert!(books.may_pass(0, word), "{word}");
            assert!(!books.may_pass(1, word), "{word}");
        }
        assert!(!books.may_pass(0, 8) && !books.may_pass(0, 19));
        books.give(0, true, &[entry(0x1000, 20), entry(0x2000, 42)], 2);
        assert!(books.may_pass(0, 20) && books.may_pass(0, 42));
        assert!(!books.may_pass(0, 21) && !books.may_pass(0, 41));
    }

    /// The driver may have taken a buffer that it never gave before, and given it since.
    #[test]
    fn what_may_be_a_first_trip_may_pass() {
        let books = Books::default();
        for word in [1, 0x101, 0x5000_0001, 0xffff_ff01] {
            assert!(books.may_pass(0, word), "{word:#x}");
        }
        for word in [0, 2, 0x100, 0x103, u32::MAX] {
            assert!(!books.may_pass(0, word), "{word:#x}");
        }
    }

    #[test]
    fn a_buffer_that_is_given_twice_is_seen() {
        let mut books = Books::default();
        books.give(0, true, &[entry(0x1000, 1), entry(0x1100, 2)], 2);
        assert_eq!(books.twice(), 0);
        for (n, again) in [
            entry(0x2000, 1),
            entry(0x1000, 3),
            entry(0x0f01, 4),
            entry(0x11ff, 5),
        ]
        .into_iter()
        .enumerate()
        {
            books.give(0, true, &[again], 3);
            assert_eq!(books.twice(), n as u32 + 1, "{again:?}");
        }
        books.give(1, true, &[entry(0x1200, 6), entry(0x0f00, 7)], 2);
        assert_eq!(books.twice(), 4, "those lie beside them");
        books.give(1, true, &[entry(0x1080, 8)], 3);
        assert_eq!(books.twice(), 5, "of another group");
    }

    #[test]
    fn what_was_foretold_is_no_matter_of_two_owners() {
        let mut books = Books::default();
        books.give(0, true, &[entry(0x1000, 1)], 1);
        books.take_back(0, drawn(0x1000, 1));
        assert_eq!(books.foretell(0), None);
        let small = Drawn {
            large: false,
            ..drawn(0x2000, 7)
        };
        books.withhold(0, small);
        assert_eq!(books.foretell(0), None, "it leaves room in the other ring");
        books.withhold(0, drawn(0x3000, 8));
        assert_eq!(books.foretell(0), Some(2));
        assert_eq!(books.foretell(0), None);
        // The driver believed it, and gave the buffer for the second time.
        books.give(0, true, &[entry(0x1000, 2), entry(0x1000, 3)], 3);
        assert_eq!(books.twice(), 0);
    }

    #[test]
    fn cookies_are_remembered() {
        let mut books = Books::default();
        assert_eq!(books.cookie(0), None);
        for cookie in 0..2 * REMEMBERED as u32 {
            books.completed(cookie * 2);
        }
        assert_eq!(books.cookie(1), Some(2 * (2 * REMEMBERED as u32 - 2)));
        assert!(books.is_cookie_due(2 * REMEMBERED as u32 + 1));
        assert!(!books.is_cookie_due(2 * REMEMBERED as u32));
        assert!(!books.is_cookie_due(1));
    }
}
