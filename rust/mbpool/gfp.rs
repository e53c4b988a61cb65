// SPDX-License-Identifier: GPL-2.0

//! What allocation flags permit.
//!
//! The flags themselves go down to the page allocation unchanged. This is only to know whether the
//! pool may wait for another who is growing it, under which kind a failure is counted, and to pass the
//! flags to functions of C that the `kernel` crate has no face for.

use core::mem;
use kernel::{
    alloc::Flags,
    bindings::{
        self,
        gfp_t, //
    },
    prelude::*, //
};

// Of helpers.c.
#[cfg(any(CONFIG_DEBUG_ATOMIC_SLEEP, CONFIG_LOCKDEP))]
extern "C" {
    fn mbpool_might_alloc(gfp: gfp_t);
}

/// Complains of a caller whose flags allow to sleep where it may not, or under a lock that the
/// reclaim of memory takes: on a kernel that looks, even if nothing sleeps this time. Nothing on any
/// other.
#[inline(always)]
pub(crate) fn might_alloc(flags: Flags) {
    // SAFETY: It only looks at where it is called.
    #[cfg(any(CONFIG_DEBUG_ATOMIC_SLEEP, CONFIG_LOCKDEP))]
    unsafe {
        mbpool_might_alloc(raw(flags))
    }
    #[cfg(not(any(CONFIG_DEBUG_ATOMIC_SLEEP, CONFIG_LOCKDEP)))]
    let _ = flags;
}

/// What a caller lets an allocation do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May not sleep, may use the emergency reserves: `GFP_ATOMIC`.
    Atomic,
    /// May not sleep: `GFP_NOWAIT`.
    Nowait,
    /// May sleep and reclaim: `GFP_KERNEL`.
    Sleep,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 3;

impl Kind {
    /// The kind of `flags`.
    pub(crate) fn of(flags: Flags) -> Self {
        let none = GFP_KERNEL & !GFP_KERNEL;
        let reclaims = reclaims();
        let reserves = GFP_ATOMIC & !GFP_KERNEL & !GFP_NOWAIT;
        if flags & reclaims != none {
            Self::Sleep
        } else if flags & reserves != none {
            Self::Atomic
        } else {
            Self::Nowait
        }
    }
}

/// What lets an allocation sleep.
///
/// The bits that set the kinds apart have no names in `kernel::alloc::flags`, but each is what one
/// named mask has and the others lack.
fn reclaims() -> Flags {
    GFP_KERNEL & !GFP_ATOMIC & !GFP_NOWAIT
}

/// The same for who may not sleep.
pub(crate) fn without_sleep(flags: Flags) -> Flags {
    flags & !reclaims()
}

/// The same for who has something to fall back on: no emergency reserves, no trying again and again, and
/// no report. These are what mempool adds.
pub(crate) fn modest(flags: Flags) -> Flags {
    let modest = 1 << bindings::___GFP_NOMEMALLOC_BIT | 1 << bindings::___GFP_NORETRY_BIT;
    from_raw(raw(flags | __GFP_NOWARN) | modest)
}

/// The flags as C takes them.
pub(crate) fn raw(flags: Flags) -> gfp_t {
    // SAFETY: `Flags` has one field, a `gfp_t`; that the sizes are equal, and so that there is nothing
    // else and the field is at its start, the compiler checks here.
    unsafe { mem::transmute::<Flags, gfp_t>(flags) }
}

/// The flags that C gives.
pub(crate) fn from_raw(flags: gfp_t) -> Flags {
    // SAFETY: As in `raw`; any number is valid in either.
    unsafe { mem::transmute::<gfp_t, Flags>(flags) }
}
