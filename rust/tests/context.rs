// SPDX-License-Identifier: GPL-2.0

//! Contexts: running a piece of a test in hard IRQ, in a softirq, on all CPUs at once, or in many threads. The safe face
//! of contexts.c.

use crate::{
    check_eq,
    ktap::{
        Outcome,
        Stop, //
    }, //
};
use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// A context that code runs in. The numbers are those of `enum mbpool_test_context`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Context {
    /// A thread.
    Process,
    /// A timer.
    SoftIrq,
    /// An interrupt on this CPU.
    HardIrq,
    /// An interrupt on another CPU.
    Elsewhere,
}

impl Context {
    /// All that may not sleep.
    pub(crate) const ATOMIC: [Self; 3] = [Self::SoftIrq, Self::HardIrq, Self::Elsewhere];
}

type Function = unsafe extern "C" fn(*mut c_void);

// As contexts.h has them; an enumeration is an `unsigned int` in C.
extern "C" {
    fn mbpool_test_context() -> c_uint;
    fn mbpool_test_in_softirq(function: Function, arg: *mut c_void) -> c_int;
    fn mbpool_test_in_hardirq(function: Function, arg: *mut c_void) -> c_int;
    fn mbpool_test_in_hardirq_elsewhere(function: Function, arg: *mut c_void) -> c_int;
    fn mbpool_test_on_each_cpu(
        function: unsafe extern "C" fn(*mut c_void, c_uint),
        arg: *mut c_void,
    ) -> c_int;
    fn mbpool_test_in_threads(
        function: unsafe extern "C" fn(*mut c_void, c_uint),
        arg: *mut c_void,
        count: c_uint,
        meanwhile: Option<Function>,
        data: *mut c_void,
    ) -> c_int;
    fn mbpool_test_ticking(
        function: Function,
        arg: *mut c_void,
        period_us: c_uint,
        soft: bool,
        meanwhile: Function,
        data: *mut c_void,
    );
}

/// What an interrupt runs in, as C has it: with PREEMPT_RT it is a thread.
const IRQ: c_uint = if cfg!(CONFIG_PREEMPT_RT) { 0 } else { 2 };

/// A function to be run, and what came of it.
struct Call<'a> {
    function: &'a mut (dyn FnMut() -> Outcome + Send),
    ran_in: c_uint,
    outcome: Option<Outcome>,
}

/// # Safety
///
/// `arg` points to a [`Call`] that nobody else uses meanwhile.
unsafe extern "C" fn call(arg: *mut c_void) {
    // SAFETY: As the caller promises.
    let call = unsafe { &mut *arg.cast::<Call<'_>>() };
    // SAFETY: It only looks at the preemption counter.
    call.ran_in = unsafe { mbpool_test_context() };
    call.outcome = Some((call.function)());
}

/// Runs `function` in `context` and waits for it. Fails if it did not run there.
pub(crate) fn run_in(context: Context, mut function: impl FnMut() -> Outcome + Send) -> Outcome {
    let mut made = Call {
        function: &mut function,
        ran_in: c_uint::MAX,
        outcome: None,
    };
    let arg: *mut c_void = (&raw mut made).cast();
    let (status, expected) = match context {
        Context::Process => {
            // SAFETY: `made` is ours.
            unsafe { call(arg) };
            (0, 0)
        }
        // SAFETY: Here and below: `call` is done with `made`, which is ours, when the function returns.
        Context::SoftIrq => (unsafe { mbpool_test_in_softirq(call, arg) }, 1),
        // SAFETY: See above.
        Context::HardIrq => (unsafe { mbpool_test_in_hardirq(call, arg) }, IRQ),
        // SAFETY: See above.
        Context::Elsewhere => (unsafe { mbpool_test_in_hardirq_elsewhere(call, arg) }, IRQ),
    };
    if context == Context::Elsewhere && status == ENODEV.to_errno() {
        return Err(Stop::Skipped("one CPU"));
    }
    to_result(status)?;
    check_eq!(made.ran_in, expected);
    made.outcome
        .unwrap_or_else(|| Err(Stop::failed("the function ran", fmt!("{context:?}"))))
}

/// A function to be run in several threads, and the first thing that one of them found wrong.
struct CallAll<'a> {
    function: &'a (dyn Fn(u32) -> Outcome + Sync),
    stop: Pin<KBox<Mutex<Option<Stop>>>>,
}

/// # Safety
///
/// `arg` points to a [`CallAll`].
unsafe extern "C" fn call_all(arg: *mut c_void, number: c_uint) {
    // SAFETY: As the caller promises; all that it holds may be used by several threads at once.
    let all = unsafe { &*arg.cast_const().cast::<CallAll<'_>>() };
    if let Err(stop) = (all.function)(number) {
        all.stop.lock().get_or_insert(stop);
    }
}

/// Runs `function` in the threads that `start` starts, which answers how many they are when all are done.
fn run_all(
    function: &(dyn Fn(u32) -> Outcome + Sync),
    start: impl FnOnce(*mut c_void) -> c_int,
) -> Outcome<u32> {
    let mut all = CallAll {
        function,
        stop: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
    };
    let count = start((&raw mut all).cast());
    let first = all.stop.lock().take();
    match (u32::try_from(count), first) {
        (_, Some(stop)) => Err(stop),
        (Ok(count), None) => Ok(count),
        (Err(_), None) => Err(Error::from_errno(count).into()),
    }
}

/// Runs `function` in a thread on each CPU, all beginning at once, and waits for them. Each is told its
/// number. Answers how many there were.
pub(crate) fn on_each_cpu(function: impl Fn(u32) -> Outcome + Sync) -> Outcome<u32> {
    run_all(&function, |all| {
        // SAFETY: `all` is a `CallAll`, and all threads are done with it when the function returns.
        unsafe { mbpool_test_on_each_cpu(call_all, all) }
    })
}

/// Runs `function` in `count` threads, which any CPU may run, and waits for them. Each is told its number.
pub(crate) fn in_threads(count: u32, function: impl Fn(u32) -> Outcome + Sync) -> Outcome {
    run_all(&function, |all| {
        // SAFETY: As above.
        unsafe { mbpool_test_in_threads(call_all, all, count, None, core::ptr::null_mut()) }
    })?;
    Ok(())
}

/// What runs here while something else goes on elsewhere.
struct Meanwhile<F> {
    function: Option<F>,
    outcome: Outcome,
}

impl<F: FnOnce() -> Outcome> Meanwhile<F> {
    fn new(function: F) -> Self {
        Self {
            function: Some(function),
            outcome: Ok(()),
        }
    }

    /// # Safety
    ///
    /// `data` points to a `Self` that nobody else uses meanwhile.
    unsafe extern "C" fn run(data: *mut c_void) {
        // SAFETY: As the caller promises.
        let meanwhile = unsafe { &mut *data.cast::<Self>() };
        if let Some(function) = meanwhile.function.take() {
            meanwhile.outcome = function();
        }
    }
}

/// As [`in_threads`], but runs `meanwhile` here before it waits for them, which has to see to it that they end.
pub(crate) fn in_threads_while<F: FnOnce() -> Outcome>(
    count: u32,
    function: impl Fn(u32) -> Outcome + Sync,
    meanwhile: F,
) -> Outcome {
    let mut meanwhile = Meanwhile::new(meanwhile);
    let data: *mut c_void = (&raw mut meanwhile).cast();
    run_all(&function, |all| {
        let run: Function = Meanwhile::<F>::run;
        // SAFETY: As above; `data` is a `Meanwhile<F>`, which nobody uses until the function returns.
        unsafe { mbpool_test_in_threads(call_all, all, count, Some(run), data) }
    })?;
    meanwhile.outcome
}

/// Runs `tick` each `period_us` microseconds, in an interrupt or in the softirq, as long as `meanwhile` runs.
pub(crate) fn ticking<T: FnMut() + Send, F: FnOnce() -> Outcome>(
    context: Context,
    period_us: u32,
    mut tick: T,
    meanwhile: F,
) -> Outcome {
    /// # Safety
    ///
    /// `arg` points to a `T` that nobody else uses meanwhile.
    unsafe extern "C" fn run<T: FnMut()>(arg: *mut c_void) {
        // SAFETY: As the caller promises.
        unsafe { (*arg.cast::<T>())() }
    }

    let mut meanwhile = Meanwhile::new(meanwhile);
    // SAFETY: `tick` and `meanwhile` are ours, and nobody uses them when the function returns. A timer runs
    // on one CPU at a time.
    unsafe {
        mbpool_test_ticking(
            run::<T>,
            (&raw mut tick).cast(),
            period_us,
            context == Context::SoftIrq,
            Meanwhile::<F>::run,
            (&raw mut meanwhile).cast(),
        )
    };
    meanwhile.outcome
}
