// SPDX-License-Identifier: GPL-2.0

//! Ledger: who of the clients of a shared pool may take a chunk.
//!
//! Each client has a guaranteed minimum and a cap, and a weight for what lies between. The minimums are
//! kept free: while a client is under its own there is a chunk for it, at once. What is left goes to
//! who asks first, as long as nobody was turned away. Who was turned away *wants* a chunk from then on, and
//! those that it gives back meanwhile; they are kept for it against all who have more beyond their minimum
//! for their weight. So an idle client's share is everybody's, and under contention the shares go by
//! weight, whatever the size of the pool.
//!
//! Nobody says that it wants nothing any more. So each time that one who waits itself is turned away
//! again, all others' wants fall by a chunk, down to one: that one stays until its client asks.
//!
//! All operations take constant time, but [`Ledger::ask`] while somebody waits, [`Ledger::refused`] and
//! those of joining and leaving, which look at all [`CLIENTS`] accounts. The pool guards the ledger with
//! a lock.

use super::{
    account::{
        Account,
        State, //
    },
    quota::Quota, //
};
use crate::facade::{
    array_with,
    AllocError,
    Array, //
};

/// The most clients of one pool.
pub const CLIENTS: u32 = 32;

/// What a client that wants a chunk is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Take one if more than `keep` are free. If not, the pool may grow.
    Over {
        /// Those that are others'.
        keep: u32,
    },
    /// It has what it may have at the most.
    Capped,
}

/// The accounts of all clients of one pool.
///
/// Whoever has it upholds that at least [`owed`](Self::owed) chunks are free: it takes one only as
/// [`ask`](Self::ask) says, and gives memory back only while [`held`](Self::held) stay free.
///
/// # Invariants
///
/// - `owed` is the sum of what the members' minimums lack, `pledged` that of the minimums of those who
///   are joining.
/// - `promised` is the sum of the minimums of both and of what the gone took along.
/// - `waiting` is the number of accounts that want something, all of them members' who have their
///   minimum.
pub struct Ledger {
    accounts: Array<Account>,
    limit: u32,
    owed: u32,
    pledged: u32,
    promised: u32,
    waiting: u32,
}

impl Ledger {
    /// The ledger of a pool that has at most `limit` chunks; no clients.
    pub fn new(limit: u32) -> Result<Self, AllocError> {
        // INVARIANT: All sums are of nothing.
        Ok(Self {
            accounts: array_with(CLIENTS, |_| Account::VACANT)?,
            limit,
            owed: 0,
            pledged: 0,
            promised: 0,
            waiting: 0,
        })
    }

    /// What has to be free, for members to get their minimums.
    pub fn owed(&self) -> u32 {
        self.owed
    }

    /// What is not given back to the machine, nor to who has its minimum: what is owed, and what is being
    /// gathered for who is joining.
    pub fn held(&self) -> u32 {
        self.owed + self.pledged
    }

    /// The account of a client.
    pub fn account(&self, client: u8) -> Option<&Account> {
        self.accounts.get(usize::from(client))
    }

    /// Opens an account. Its minimum is held from now on, and the client owes a [`seat`](Self::seat) or a
    /// [`leave`](Self::leave). `None`: there are too many clients, or not enough chunks.
    pub fn enter(&mut self, quota: Quota) -> Option<u8> {
        let promised = self.promised.checked_add(quota.min)?;
        if promised > self.limit {
            return None;
        }
        let mut accounts = (0..).zip(self.accounts.iter_mut());
        let (client, account) = accounts.find(|(_, account)| account.state == State::Vacant)?;
        // INVARIANT: One more is joining.
        *account = Account {
            state: State::Joining,
            quota,
            ..Account::VACANT
        };
        self.promised = promised;
        self.pledged += quota.min;
        self.settle();
        Some(client)
    }

    /// Makes who is joining a member, if with `free` chunks its minimum and all others' are there.
    pub fn seat(&mut self, client: u8, free: u32) -> bool {
        let Some(account) = self.accounts.get_mut(usize::from(client)) else {
            return false;
        };
        let min = account.quota.min;
        if account.state != State::Joining || free.saturating_sub(self.owed) < min {
            return false;
        }
        // INVARIANT: What was pledged is owed.
        account.state = State::Member;
        self.pledged -= min;
        self.owed += min;
        self.settle();
        true
    }

    /// Closes an account. Answers how many chunks are not back; they are lost to the others, and if there
    /// are any, so is the account.
    pub fn leave(&mut self, client: u8) -> u32 {
        self.stop_waiting(client);
        let Some(account) = self.accounts.get_mut(usize::from(client)) else {
            return 0;
        };
        // INVARIANT: What it was promised goes, and what it took along stays.
        match account.state {
            State::Joining => self.pledged -= account.quota.min,
            State::Member => self.owed -= account.unfilled(),
            State::Vacant | State::Gone => return account.used,
        }
        let used = account.used;
        self.promised = (self.promised - account.quota.min).saturating_add(used);
        account.state = if used == 0 {
            State::Vacant
        } else {
            State::Gone
        };
        self.settle();
        used
    }

    /// A client wants a chunk: what it has to leave.
    #[inline]
    pub fn ask(&self, client: u8) -> Answer {
        let Some(account) = self.account(client) else {
            return Answer::Capped;
        };
        if account.used >= account.quota.cap {
            return Answer::Capped;
        }
        if account.unfilled() > 0 {
            // One of those that are owed is its own.
            return Answer::Over {
                keep: self.owed.saturating_sub(1),
            };
        }
        let first = if self.waiting == 0 {
            0
        } else {
            self.before(account)
        };
        Answer::Over {
            keep: self.held() + first,
        }
    }

    /// What others want, as far as they will have no more of it than `account` with a chunk more.
    #[cold]
    fn before(&self, account: &Account) -> u32 {
        let next = u64::from(account.extra() + 1);
        let waiting = self.accounts.iter().filter(|other| other.wants > 0);
        waiting
            .map(|other| {
                // The most that it can have and still have less.
                let most =
                    (next * u64::from(other.quota.weight) - 1) / u64::from(account.quota.weight);
                let more = most.saturating_sub(u64::from(other.extra()));
                // CAST: At most what it wants.
                more.min(u64::from(other.wants)) as u32
            })
            .sum()
    }

    /// A client took a chunk, as [`ask`](Self::ask) said.
    #[inline]
    pub fn taken(&mut self, client: u8) {
        if let Some(account) = self.accounts.get_mut(usize::from(client)) {
            // INVARIANT: One less waits, if this was all that it wanted.
            self.waiting -= u32::from(account.wants == 1);
            account.wants = account.wants.saturating_sub(1);
            // INVARIANT: Of a minimum that lacks one more than before the chunk was owed.
            self.owed -= u32::from(account.unfilled() > 0);
            account.used += 1;
            account.allocations += 1;
        }
    }

    /// A client gives a chunk back. Before the chunk is free, since another is owed from then on.
    #[inline]
    pub fn returning(&mut self, client: u8) {
        let Some(account) = self.accounts.get_mut(usize::from(client)) else {
            return;
        };
        account.used = account.used.saturating_sub(1);
        if account.unfilled() > 0 {
            // INVARIANT: It lacks one more; and it does not wait for what it is sure to get.
            self.owed += 1;
            self.stop_waiting(client);
        } else if account.wants > 0 {
            account.wants += 1;
        }
    }

    /// A client is turned away. It wants a chunk from now on, unless it is at its cap. If that is new,
    /// answers who should give one back: who has the most for its weight, and more than this one would have.
    #[cold]
    pub fn refused(&mut self, client: u8) -> Option<u8> {
        let at = usize::from(client);
        let capped = self.ask(client) == Answer::Capped;
        let account = self.accounts.get_mut(at)?;
        account.refused += 1;
        if capped || account.unfilled() > 0 {
            return None;
        }
        if account.wants > 0 {
            self.age(client);
            return None;
        }
        // INVARIANT: A member that has its minimum waits.
        account.wants = 1;
        self.waiting += 1;

        let account = *account;
        let mut most: Option<(u8, Account)> = None;
        for (number, other) in (0..).zip(self.accounts.iter()) {
            let over =
                other.is_member() && other.is_more(other.extra(), &account, account.extra() + 1);
            let more =
                most.is_none_or(|(_, most)| other.is_more(other.extra(), &most, most.extra()));
            if over && more {
                most = Some((number, *other));
            }
        }
        let (number, _) = most?;
        self.yielding(number);
        Some(number)
    }

    /// What a member should give back for who is joining, when only `free` chunks are: its part of what
    /// is missing, by what it has beyond its minimum; 0 if there is nothing to be asked for.
    pub fn part(&mut self, client: u8, free: u32) -> u32 {
        let missing = u64::from(self.held().saturating_sub(free));
        let members = self.accounts.iter().filter(|account| account.is_member());
        let all: u64 = members.map(|account| u64::from(account.extra())).sum();
        let extra = match self.account(client) {
            Some(account) if account.is_member() => account.extra(),
            _ => 0,
        };
        let part = (missing * u64::from(extra)).div_ceil(all.max(1));
        // CAST: At most what it has.
        let part = part.min(u64::from(extra)) as u32;
        if part > 0 {
            self.yielding(client);
        }
        part
    }

    /// One who waits is turned away for what others may not want any more.
    fn age(&mut self, client: u8) {
        for (number, other) in (0..).zip(self.accounts.iter_mut()) {
            if number != client && other.wants > 1 {
                other.wants -= 1;
            }
        }
    }

    fn yielding(&mut self, client: u8) {
        if let Some(account) = self.accounts.get_mut(usize::from(client)) {
            account.yields += 1;
        }
    }

    fn stop_waiting(&mut self, client: u8) {
        if let Some(account) = self.accounts.get_mut(usize::from(client)) {
            // INVARIANT: One less waits, if it did.
            self.waiting -= u32::from(account.wants > 0);
            account.wants = 0;
        }
    }

    /// Works out all shares anew.
    fn settle(&mut self) {
        let members = self.accounts.iter().filter(|account| account.is_member());
        let mut weights: u64 = members.map(|account| u64::from(account.quota.weight)).sum();
        let mut rest = u64::from(self.limit.saturating_sub(self.promised));
        self.accounts
            .iter_mut()
            .for_each(|account| account.share = 0);
        // Those whom their caps keep from their part leave more for the others, whom their caps may then
        // keep from theirs.
        let mut again = true;
        while again {
            again = false;
            for account in self.accounts.iter_mut() {
                let Quota { min, cap, weight } = account.quota;
                let (room, weight) = (u64::from(cap - min), u64::from(weight));
                if !account.is_member() || account.share == cap {
                    continue;
                }
                again |= room * weights <= rest * weight;
                if room * weights <= rest * weight {
                    account.share = cap;
                    rest -= room;
                    weights -= weight;
                } else {
                    let part = rest * weight / weights;
                    // CAST: Less than the room that its cap leaves.
                    account.share = min + part as u32;
                }
            }
        }
    }
}
