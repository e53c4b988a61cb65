// SPDX-License-Identifier: GPL-2.0

//! An owned `struct sk_buff`.

use super::bindings;
use core::{
    ops::Range,
    ptr::NonNull, //
};
use kernel::prelude::*;
use mbpool::PageRef;

/// A packet of the stack. Dropping it frees it, and counts it as dropped; see [`Skb::consume`].
///
/// All methods work in any context.
///
/// # Invariants
///
/// `0` is a valid packet that nobody else owns.
pub(crate) struct Skb(NonNull<bindings::sk_buff>);

// SAFETY: A packet is not tied to a thread or a CPU, and by the type invariant it is ours alone.
unsafe impl Send for Skb {}

impl Skb {
    /// Takes over the packet that C gave.
    ///
    /// # Safety
    ///
    /// `skb` is a valid packet, which the caller gives away.
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self(skb)
    }

    /// Gives the packet away to C.
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// Length in bytes, all fragments included.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: The packet is valid by the type invariant.
        // CAST: A `u32` fits in `usize` on all architectures with a network stack.
        unsafe { bindings::mbnic_skb_len(self.0.as_ptr()) as usize }
    }

    /// Copies the first bytes of the packet to `to` and fills all of it: `EINVAL` if the packet is
    /// shorter.
    pub(crate) fn copy_to(&self, to: &mut [u8]) -> Result {
        let len = i32::try_from(to.len())?;
        // SAFETY: The packet is valid by the type invariant, and `to` holds `len` bytes.
        let err =
            unsafe { bindings::skb_copy_bits(self.0.as_ptr(), 0, to.as_mut_ptr().cast(), len) };
        if err == 0 {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Appends `data`: `ENOSPC` if it is more than the packet was allocated for.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result {
        let len = u32::try_from(data.len())?;
        // SAFETY: The packet is valid by the type invariant.
        let room = unsafe { bindings::mbnic_skb_tailroom(self.0.as_ptr()) };
        if u32::try_from(room)? < len {
            return Err(ENOSPC);
        }
        // SAFETY: The packet is valid and ours alone by the type invariant, and has room for `len`
        // more bytes at its tail; `data` holds that many.
        unsafe { bindings::mbnic_skb_put_data(self.0.as_ptr(), data.as_ptr().cast(), len) };
        Ok(())
    }

    /// Appends a part of a page, which the packet holds from now on and accounts for as a whole: `EINVAL`
    /// if the page's buffer is shorter, `ENOSPC` if the packet has no room for a fragment.
    pub(crate) fn append_page(&mut self, page: PageRef, part: Range<usize>) -> Result {
        let len = part.end.checked_sub(part.start).ok_or(EINVAL)?;
        if part.end > page.len() {
            return Err(EINVAL);
        }
        let (offset, len) = (c_int::try_from(part.start)?, c_int::try_from(len)?);
        // SAFETY: The packet is valid by the type invariant.
        if !unsafe { bindings::mbnic_skb_has_room_for_frag(self.0.as_ptr()) } {
            return Err(ENOSPC);
        }
        // SAFETY: The packet is valid and ours alone by the type invariant, and has room for a fragment.
        // The part lies in the page, to which the packet gets our reference.
        unsafe {
            bindings::mbnic_skb_add_rx_frag(self.0.as_ptr(), page.into_raw().as_ptr(), offset, len)
        };
        Ok(())
    }

    /// Frees a packet that has reached its end, which is no drop.
    pub(crate) fn consume(self) {
        // SAFETY: `into_raw` gives the packet, valid by the type invariant, to us.
        unsafe { bindings::mbnic_dev_consume_skb_any(self.into_raw()) };
    }
}

impl Drop for Skb {
    fn drop(&mut self) {
        // SAFETY: The packet is valid and ours by the type invariant, and nobody uses `self` again.
        unsafe { bindings::mbnic_dev_kfree_skb_any(self.0.as_ptr()) };
    }
}
