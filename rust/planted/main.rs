// SPDX-License-Identifier: GPL-2.0

//! Deliberate faults, to show that the debug kernel sees them: what it does not report in the other suites is
//! then not there.
//!
//! `fault=N` plants the N-th of [`FAULTS`] in the probe of a driver for QEMU's `pci-testdev`. One in a boot: after
//! the first report a checker may be silent. Never load this into a machine that is wanted.

use core::{
    hint::black_box,
    mem, //
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
