// SPDX-License-Identifier: GPL-2.0

//! Peers: the safe face of peers.c.

use crate::{
    growth,
    meter::{
        timed,
        Cost,
        Label,
        Meter,
        Of, //
    }, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    prelude::*,
    str::CStr, //
};

/// `struct mbpool_bench_peer` of peers.h.
#[repr(C)]
struct Peer {
    name: *const c_char,
    size: c_uint,
    set_up: unsafe extern "C" fn(*mut c_void, c_uint) -> c_int,
    run: unsafe extern "C" fn(c_uint) -> c_int,
    tear_down: unsafe extern "C" fn(),
}

/// What is measured one by one. The numbers are those of `enum mbpool_bench_event`.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// Reading the clock.
    Nothing,
    /// `dma_alloc_coherent()` of a page.
    DmaAlloc,
    /// `dma_pool_alloc()` that takes a page.
    DmaPoolGrow,
    /// `dma_pool_alloc()` that need not.
    DmaPoolAlloc,
}

/// Peers that several CPUs can use. It is `enum mbpool_bench_rival`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) enum Rival {
    /// One for all.
    DmaPool,
    /// One for all.
    KmemCache,
    /// One a CPU, as each queue of a driver has its own.
    PagePool,
}

/// What runs on several CPUs: its argument, the CPU's number, how many times.
type OnCpu = unsafe extern "C" fn(*mut c_void, c_uint, c_uint) -> c_int;

extern "C" {
    fn mbpool_bench_on_cpus(cpus: c_uint, func: OnCpu, arg: *mut c_void, n: c_uint) -> i64;
    fn mbpool_bench_rival_pairs(arg: *mut c_void, number: c_uint, n: c_uint) -> c_int;
    fn mbpool_bench_rival_belt(arg: *mut c_void, number: c_uint, n: c_uint) -> c_int;
    fn mbpool_bench_rivals_set_up(dev: *mut c_void) -> c_int;
    fn mbpool_bench_rivals_tear_down();
    fn mbpool_bench_free_memory() -> c_ulong;
    fn mbpool_bench_peer(at: c_uint) -> *const Peer;
    fn mbpool_bench_event_set_up(dev: *mut c_void, event: c_uint, count: c_uint) -> c_int;
    fn mbpool_bench_event_once() -> i64;
    fn mbpool_bench_event_tear_down();
    fn mbpool_bench_set_mask(dev: *mut c_void) -> c_int;
    fn mbpool_bench_quiet();
    fn mbpool_bench_unquiet();
    fn mbpool_bench_count(n: c_uint) -> c_uint;
}

fn as_raw(dev: &Device<Bound>) -> *mut c_void {
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Says that the device does DMA, to all memory.
///
/// # Safety
///
/// Nobody allocates DMA memory for the device meanwhile.
pub(crate) unsafe fn set_mask(dev: &Device<Bound>) -> Result {
    // SAFETY: The device is valid, and nobody looks at its masks, as the caller promises.
    to_result(unsafe { mbpool_bench_set_mask(as_raw(dev)) })
}

/// No other thread and no softirq on this CPU while this exists.
pub(crate) struct Quiet(());

impl Quiet {
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: Dropping undoes it.
        unsafe { mbpool_bench_quiet() };
        Self(())
    }
}

impl Drop for Quiet {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Undoes what was done when this was made.
        unsafe { mbpool_bench_unquiet() };
    }
}

/// Counts to `n`, and answers how many instructions a step has, or 0 if that is not known.
pub(crate) fn count(n: u32) -> u32 {
    // SAFETY: May be called with any number but 0.
    unsafe { mbpool_bench_count(n.max(1)) }
}

/// Measures all peers.
pub(crate) fn measure_all(dev: &Device<Bound>, meter: &mut Meter) -> Result {
    let mut loop_cost = Cost::default();
    for at in 0.. {
        // SAFETY: May be called with any number; what it answers is NULL or static.
        let Some(peer) = (unsafe { mbpool_bench_peer(at).as_ref() }) else {
            break;
        };
        // SAFETY: The device is bound; no other peer is set up.
        to_result(unsafe { (peer.set_up)(as_raw(dev), peer.size) })?;
        let cost = meter.measure(meter.iterations(), |n| {
            // SAFETY: The peer is set up.
            timed(|| to_result(unsafe { (peer.run)(n) }))
        });
        // SAFETY: The peer is set up, and not used any more.
        unsafe { (peer.tear_down)() };

        // SAFETY: A string literal of C.
        let name = unsafe { CStr::from_char_ptr(peer.name) };
        let label = Label {
            name: name.to_str().map_err(|_| EINVAL)?,
            // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
            size: peer.size as usize,
            of: Of::Buffers(0),
        };
        let cost = cost?;
        cost.report(label, loop_cost);
        if at == 0 {
            loop_cost = cost;
        }
    }
    Ok(())
}

/// Measures one kind of event.
pub(crate) fn measure_event(dev: &Device<Bound>, meter: &mut Meter, event: Event) -> Result<Cost> {
    // SAFETY: The device is bound; no other event is set up.
    to_result(unsafe {
        // CAST: An enumeration without values.
        mbpool_bench_event_set_up(as_raw(dev), event as c_uint, growth::count(meter))
    })?;
    let cost = growth::events(meter, || {
        let _quiet = Quiet::new();
        // SAFETY: The event is set up.
        let passed = unsafe { mbpool_bench_event_once() };
        u64::try_from(passed).map_err(|_| ENOMEM)
    });
    // SAFETY: It is set up.
    unsafe { mbpool_bench_event_tear_down() };
    cost
}

/// Bytes of memory that nobody has.
pub(crate) fn free_memory() -> usize {
    // SAFETY: May be called at any time where one may sleep.
    unsafe { mbpool_bench_free_memory() }
}

/// What runs on several CPUs at once: told its number, and how many times.
pub(crate) type Work<'a> = &'a (dyn Fn(u32, u32) -> Result + Sync);

/// Runs `work` on so many CPUs at once. Answers the nanoseconds until the last one was done.
///
/// # Errors
///
/// That of one of them; `ENODEV`: there are not so many CPUs.
pub(crate) fn on_cpus(cpus: u32, n: u32, mut work: Work<'_>) -> Result<u64> {
    /// # Safety
    ///
    /// `arg` points to a `Work`.
    unsafe extern "C" fn call(arg: *mut c_void, number: c_uint, n: c_uint) -> c_int {
        // SAFETY: As the caller promises.
        let work = unsafe { *arg.cast_const().cast::<Work<'_>>() };
        match work(number, n) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
    // SAFETY: `arg` is `work`, which is there until all are done and may be used by all at once.
    as_time(unsafe { mbpool_bench_on_cpus(cpus, call, (&raw mut work).cast(), n) })
}

/// Nanoseconds, or an error.
fn as_time(passed: i64) -> Result<u64> {
    match i32::try_from(passed) {
        Ok(errno @ ..0) => Err(Error::from_errno(errno)),
        _ => u64::try_from(passed).map_err(|_| EINVAL),
    }
}

/// The peers that several CPUs can use, ready to be.
pub(crate) struct Rivals(());

impl Rivals {
    /// One at a time.
    pub(crate) fn new(dev: &Device<Bound>) -> Result<Self> {
        // SAFETY: The device is bound, and no others are set up.
        to_result(unsafe { mbpool_bench_rivals_set_up(as_raw(dev)) })?;
        Ok(Self(()))
    }

    /// Each of so many CPUs allocates and frees.
    pub(crate) fn pairs(&self, mut rival: Rival, cpus: u32, n: u32) -> Result<u64> {
        let arg = (&raw mut rival).cast();
        // SAFETY: The peers are set up.
        as_time(unsafe { mbpool_bench_on_cpus(cpus, mbpool_bench_rival_pairs, arg, n) })
    }

    /// One CPU allocates, another frees.
    pub(crate) fn belt(&self, mut rival: Rival, n: u32) -> Result<u64> {
        let arg = (&raw mut rival).cast();
        // SAFETY: As above.
        as_time(unsafe { mbpool_bench_on_cpus(2, mbpool_bench_rival_belt, arg, n) })
    }
}

impl Drop for Rivals {
    fn drop(&mut self) {
        // SAFETY: They are set up.
        unsafe { mbpool_bench_rivals_tear_down() };
    }
}
