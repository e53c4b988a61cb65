// SPDX-License-Identifier: GPL-2.0

//! The pool's lock: a `spinlock_t` that is taken with `spin_lock_irqsave()`.
//!
//! `kernel::sync::SpinLockIrq` would do, but counts nested disabling of interrupts, in functions that
//! are called out of line: on the pool's hottest path it costs more than all the rest. Where the kernel
//! crate's becomes as cheap, this file goes.

use kernel::{
    bindings,
    prelude::*,
    sync::lock::{
        Backend,
        Lock, //
    }, //
};

// Of helpers.c.
#[cfg(not(any(CONFIG_SMP, CONFIG_PREEMPT_RT)))]
extern "C" {
    fn mbpool_spin_lock_irqsave(lock: *mut bindings::spinlock_t) -> c_ulong;
    fn mbpool_spin_unlock_irqrestore(lock: *mut bindings::spinlock_t, flags: c_ulong);
}

/// A lock whose holder has interrupts off, whatever they were before.
pub(crate) type IrqLock<T> = Lock<T, IrqSave>;

/// Makes an initialiser for an [`IrqLock`] with a lock class of its own.
macro_rules! new_irq_lock {
    ($inner:expr, $name:literal) => {
        $crate::lock::IrqLock::new(
            $inner,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_irq_lock;

/// `spin_lock_irqsave()` and `spin_unlock_irqrestore()`.
pub(crate) struct IrqSave;

// SAFETY: A `spinlock_t` excludes others; `relock` is the one that comes with the trait.
unsafe impl Backend for IrqSave {
    type State = bindings::spinlock_t;
    /// The interrupt flags from before.
    type GuardState = c_ulong;

    #[inline]
    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: As the trait's caller promises.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: As the trait's caller promises, the lock is initialised. A `spinlock_t` begins with its
        // `raw_spinlock_t`.
        #[cfg(all(CONFIG_SMP, not(CONFIG_PREEMPT_RT)))]
        unsafe {
            bindings::_raw_spin_lock_irqsave(ptr.cast())
        }
        // SAFETY: As above. On one CPU it is inline, in the end the interrupt flags and nothing else.
        #[cfg(not(any(CONFIG_SMP, CONFIG_PREEMPT_RT)))]
        unsafe {
            mbpool_spin_lock_irqsave(ptr)
        }
        // SAFETY: As above. This is what it is with PREEMPT_RT, where interrupts stay on.
        #[cfg(CONFIG_PREEMPT_RT)]
        unsafe {
            bindings::spin_lock(ptr);
            0
        }
    }

    #[inline]
    unsafe fn try_lock(_ptr: *mut Self::State) -> Option<Self::GuardState> {
        // Nobody tries.
        None
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: As the trait's caller promises, we hold the lock, and had these flags from `lock`.
        #[cfg(all(CONFIG_SMP, not(CONFIG_PREEMPT_RT)))]
        unsafe {
            bindings::_raw_spin_unlock_irqrestore(ptr.cast(), *flags)
        }
        // SAFETY: As above.
        #[cfg(not(any(CONFIG_SMP, CONFIG_PREEMPT_RT)))]
        unsafe {
            mbpool_spin_unlock_irqrestore(ptr, *flags)
        }
        // SAFETY: As above.
        #[cfg(CONFIG_PREEMPT_RT)]
        unsafe {
            let _ = flags;
            bindings::spin_unlock(ptr)
        }
    }

    #[inline]
    unsafe fn assert_is_held(_ptr: *mut Self::State) {
        // The kernel crate asks after each locking, and the answer is a call of an empty function unless
        // lockdep is there.
        // SAFETY: As the trait's caller promises.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::spin_assert_is_held(_ptr)
        }
    }
}
