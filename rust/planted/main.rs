// SPDX-License-Identifier: GPL-2.0

//! Deliberate faults, to show that the debug kernel sees them: what it does not report in the other suites is
//! then not there.
//!
//! `fault=N` plants the N-th of [`FAULTS`] in the probe of a driver for QEMU's `pci-testdev`. One in a boot: after
//! the first report a checker may be silent. Never load this into a machine that is wanted.

use core::{
    cell::UnsafeCell,
    hint::{
        black_box,
        spin_loop, //
    },
    mem,
    sync::atomic::{
        AtomicU32,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};
use kernel::{
    bindings,
    device::Core,
    dma::Coherent,
    new_spinlock,
    pci,
    prelude::*,
    sync::{
        rcu,
        SpinLock, //
    }, //
};
use mbpool::{
    Config,
    Notify,
    Pool, //
};

type Device<'a> = pci::Device<Core<'a>>;

/// What can be planted, by its place in the list: that is how `scripts/suites/planted.host` asks for it.
const FAULTS: &[fn(&Device<'_>) -> Result] = &[
    a_buffer_after_its_pool,
    beyond_the_end,
    sleep_under_a_lock,
    sleep_under_rcu,
    locks_in_two_orders,
    a_lock_that_an_interrupt_takes,
    a_mapping_forgotten,
    a_sync_of_what_is_not_mapped,
    memory_forgotten,
    a_sum_that_overflows,
    an_assertion,
    an_index_too_far,
    a_counter_without_a_lock,
    a_turn_given_without_order,
    no_race,
];

kernel::module_pci_driver! {
    type: Driver,
    name: "mbpool_planted",
    authors: ["The mbpool authors"],
    description: "Deliberate faults, for a kernel that looks for them",
    license: "GPL",
    params: {
        fault: usize {
            default: 0,
            description: "Which fault, by its place in the list",
        },
    },
}

fn pool<'a>(dev: &'a Device<'_>) -> Result<Pool<'a>> {
    Pool::new(dev.as_ref(), Config::new(c"planted", 1024), GFP_KERNEL)
}

/// A pointer to a buffer is kept past the pool that it is of, whose pages are freed.
fn a_buffer_after_its_pool(dev: &Device<'_>) -> Result {
    let pool = pool(dev)?;
    let pointer = pool.alloc(GFP_KERNEL)?.as_ptr();
    drop(pool);
    // SAFETY: None. That is the fault.
    black_box(unsafe { pointer.read_volatile() });
    Ok(())
}

/// A ring's shadow is read one entry too far.
fn beyond_the_end(_: &Device<'_>) -> Result {
    let shadow = KVec::from_elem(0u32, 10, GFP_KERNEL)?;
    let pointer = black_box(shadow.as_ptr());
    // SAFETY: None. That is the fault.
    black_box(unsafe { pointer.add(10).read_volatile() });
    Ok(())
}

/// Memory is asked for under a spin lock with flags that allow to sleep. Nothing needs to sleep: there is a
/// chunk.
fn sleep_under_a_lock(dev: &Device<'_>) -> Result {
    let pool = pool(dev)?;
    drop(pool.alloc(GFP_KERNEL)?);
    let lock = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
    let guard = lock.lock();
    drop(pool.alloc(GFP_KERNEL)?);
    drop(guard);
    Ok(())
}

/// The same where RCU is read.
fn sleep_under_rcu(dev: &Device<'_>) -> Result {
    let pool = pool(dev)?;
    drop(pool.alloc(GFP_KERNEL)?);
    let guard = rcu::read_lock();
    drop(pool.alloc(GFP_KERNEL)?);
    drop(guard);
    Ok(())
}

/// Takes the driver's lock, under that of the pool which calls it.
struct Bell<'a>(&'a SpinLock<u32>);

impl Notify for Bell<'_> {
    fn available(&self) {
        *self.0.lock() += 1;
    }
}

/// The driver's lock is taken by an alarm, under the pool's; and the pool is asked under the driver's.
fn locks_in_two_orders(dev: &Device<'_>) -> Result {
    let pool = pool(dev)?;
    let lock = KBox::pin_init(new_spinlock!(0), GFP_KERNEL)?;
    {
        // SAFETY: It is dropped before the lock.
        let alarm = unsafe { pool.alarm(Bell(&lock)) }?;
        let buffer = pool.alloc(GFP_KERNEL)?;
        // All four chunks of the page: when this one is back.
        if !alarm.arm(4) {
            return Err(EINVAL);
        }
        drop(buffer);
    }
    let guard = lock.lock();
    drop(pool.alloc(GFP_ATOMIC)?);
    drop(guard);
    Ok(())
}

// Of faults.c.
extern "C" {
    fn mbpool_planted_entry(index: c_uint) -> u32;
    fn mbpool_planted_in_hardirq(function: unsafe extern "C" fn(*mut c_void), arg: *mut c_void);
    fn mbpool_planted_on_each_cpu(function: unsafe extern "C" fn(*mut c_void), arg: *mut c_void);
}

/// # Safety
///
/// `lock` points to a `SpinLock<u32>`.
unsafe extern "C" fn take(lock: *mut c_void) {
    // SAFETY: As the caller promises.
    *unsafe { &*lock.cast_const().cast::<SpinLock<u32>>() }.lock() += 1;
}

/// A lock that an interrupt takes is taken with interrupts on.
fn a_lock_that_an_interrupt_takes(_: &Device<'_>) -> Result {
    let lock = KBox::pin_init(new_spinlock!(0u32), GFP_KERNEL)?;
    let pointer: *const SpinLock<u32> = &*lock;
    *lock.lock() += 1;
    // SAFETY: The lock is there until the function has returned, which runs `take` meanwhile.
    unsafe { mbpool_planted_in_hardirq(take, pointer.cast_mut().cast()) };
    Ok(())
}

/// A driver goes and leaves DMA memory behind.
fn a_mapping_forgotten(dev: &Device<'_>) -> Result {
    mem::forget(Coherent::<u64>::zeroed_slice(
        dev.as_ref(),
        512,
        GFP_KERNEL,
    )?);
    Ok(())
}

/// An address is synced that nobody mapped.
fn a_sync_of_what_is_not_mapped(dev: &Device<'_>) -> Result {
    let raw = core::ptr::from_ref::<kernel::device::Device>(dev.as_ref()).cast_mut();
    // SAFETY: The device is valid. The address is none of its own: that is the fault.
    unsafe {
        bindings::__dma_sync_single_for_cpu(
            raw.cast(),
            0x1000,
            64,
            bindings::dma_data_direction::DMA_FROM_DEVICE,
        )
    };
    Ok(())
}

/// Memory of which nobody has the address.
fn memory_forgotten(_: &Device<'_>) -> Result {
    for number in 0..8u8 {
        mem::forget(KBox::new([number; 200], GFP_KERNEL)?);
    }
    Ok(())
}

/// Arithmetic that is not checked.
fn a_sum_that_overflows(dev: &Device<'_>) -> Result {
    let most = black_box(u32::MAX);
    pr_info!("{} {}\n", most + 1, dev.vendor_id());
    Ok(())
}

/// A debug assertion.
fn an_assertion(_: &Device<'_>) -> Result {
    debug_assert!(black_box(false));
    Ok(())
}

/// C that looks behind an array.
fn an_index_too_far(_: &Device<'_>) -> Result {
    // SAFETY: None. That is the fault.
    pr_info!("{}\n", unsafe { mbpool_planted_entry(black_box(9)) });
    Ok(())
}

/// How often each CPU takes its turn: one access in some is watched.
const ROUNDS: u32 = 2000;

/// # Safety
///
/// `counter` points to a `u32`.
unsafe extern "C" fn count(counter: *mut c_void) {
    // Long, as the others may begin late.
    for _ in 0..100 * ROUNDS {
        // SAFETY: Only that it points there. That others do the same meanwhile is the fault.
        unsafe { *black_box(counter.cast::<u32>()) += 1 };
    }
}

/// CPUs add to a counter, and nobody has locked it.
fn a_counter_without_a_lock(_: &Device<'_>) -> Result {
    let mut counter = 0u32;
    // SAFETY: The counter is there until the function has returned.
    unsafe { mbpool_planted_on_each_cpu(count, (&raw mut counter).cast()) };
    Ok(())
}

/// What two CPUs have in turn.
#[derive(Default)]
struct Shared {
    cpus: AtomicU32,
    turn: AtomicU32,
    word: UnsafeCell<u32>,
}

/// # Safety
///
/// `shared` points to a [`Shared`].
unsafe extern "C" fn take_turns<const IN_ORDER: bool>(shared: *mut c_void) {
    // SAFETY: As the caller promises.
    let shared = unsafe { &*shared.cast_const().cast::<Shared>() };
    let me = shared.cpus.fetch_add(1, Relaxed);
    for _ in 0..if me < 2 { ROUNDS } else { 0 } {
        while shared.turn.load(Acquire) != me {
            spin_loop();
        }
        // SAFETY: It is our turn. But what the other did before it said so need not be done if it said it without
        // order. That is the fault.
        unsafe { *shared.word.get() += 1 };
        shared
            .turn
            .store(1 - me, if IN_ORDER { Release } else { Relaxed });
    }
}

/// A CPU says that it is done with a word, in a way that the word may come after.
fn a_turn_given_without_order(_: &Device<'_>) -> Result {
    let shared = Shared::default();
    let arg = (&raw const shared).cast_mut().cast();
    // SAFETY: It is there until the function has returned.
    unsafe { mbpool_planted_on_each_cpu(take_turns::<false>, arg) };
    Ok(())
}

/// No fault: atomics alone, and a word that atomics give from one to the other. Nothing is to be said of it.
fn no_race(_: &Device<'_>) -> Result {
    let shared = Shared::default();
    let arg = (&raw const shared).cast_mut().cast();
    // SAFETY: It is there until the function has returned.
    unsafe { mbpool_planted_on_each_cpu(take_turns::<true>, arg) };
    Ok(())
}

struct Driver;

kernel::pci_device_table!(
    IDS,
    (),
    [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x5), ())]
);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<()> = &IDS;

    fn probe<'bound>(
        dev: &'bound Device<'_>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let number = module_parameters::fault.value().checked_sub(1);
        let fault = number.and_then(|at| FAULTS.get(at)).ok_or(EINVAL)?;
        fault(dev)?;
        dev_info!(dev, "nothing stopped it\n");
        Ok::<_, Error>(Self)
    }
}
