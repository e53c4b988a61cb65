// SPDX-License-Identifier: GPL-2.0

//! Stress: interrupts, the softirq and threads at one pool, for as long as the parameter `seconds` says, while
//! a script outside takes memory and CPUs away. All that they do is random; what is found is not:
//!
//! - each buffer holds what its owner wrote ([`actor`]);
//! - at any time the chunks that are free, used and on the card are all chunks there are;
//! - once a second all stand still, and what the pool counts is what they have, to the chunk;
//! - in the end all is home.

mod actor;
mod world;

use self::{
    actor::{
        Actor,
        Figures, //
    },
    world::{
        Bell,
        World,
        RING, //
    }, //
};
use crate::{
    check,
    check_eq,
    context::{
        in_threads_while,
        ticking,
        Context, //
    },
    devices::Fixture,
    ktap::Outcome,
    support::{
        becomes,
        sleep, //
    },
    sysfs,
    tests,
    tide::shrink, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use mbpool::{
    Config,
    Pool,
    Reserve, //
};

tests![all_contexts_at_one_pool];

const NAME: &CStr = c"stress";
/// The same for paths.
const POOL: &str = "stress";

const SIZE: usize = 512;
const CHUNKS: usize = 8;
const PAGES: u32 = 96;
/// What stays under memory pressure.
const LOW: u32 = 32;
const SET_ASIDE: u32 = 8;

/// Timers, two in each context, and threads.
const TICKING: [Context; 4] = [
    Context::HardIrq,
    Context::SoftIrq,
    Context::HardIrq,
    Context::SoftIrq,
];
const THREADS: u32 = 6;
const ACTORS: usize = TICKING.len() + THREADS as usize;
const PERIOD_US: u32 = 2000;

/// What the sampling found.
#[derive(Default)]
struct Samples {
    looks: u32,
    close: u32,
    /// Times that not all stood still.
    waiting: u32,
    most: usize,
    fewest: usize,
}

/// Looks at the pool until the time is over, or one of the actors has found something.
fn watch(world: &World<'_>, samples: &mut Samples) -> Outcome {
    let seconds = i64::try_from(crate::module_parameters::seconds.value())?;
    let start = Instant::<Monotonic>::now();
    samples.fewest = usize::MAX;
    let mut round = 0;
    // Each kind of round at least once.
    while (round < 5 || start.elapsed().as_millis() < seconds * 1000) && !world.is_over() {
        for _ in 0..5 {
            sleep(200);
            world.look()?;
            samples.looks += 1;
            let pages = usize::try_from(sysfs::number(POOL, "pages")?)?;
            samples.most = samples.most.max(pages);
            samples.fewest = samples.fewest.min(pages);
        }
        let result = if world.stand_still() {
            samples.close += 1;
            world.look_closely()
        } else {
            samples.waiting += 1;
            Ok(())
        };
        world.go_on();
        result?;
        // Three rounds of plenty, then two in which pages can go.
        if world.is_lean() {
            shrink()?;
        }
        round += 1;
        world.lean.store((round % 5 >= 3).into(), Relaxed);
    }
    Ok(())
}

/// Has all of them act in their contexts while `meanwhile` runs.
fn ticking_all(actors: &mut [Actor<'_>], meanwhile: &mut dyn FnMut() -> Outcome) -> Outcome {
    let Some((first, others)) = actors.split_first_mut() else {
        return meanwhile();
    };
    let context = first.context;
    let tick = || _ = first.act(4);
    ticking(context, PERIOD_US, tick, || ticking_all(others, meanwhile))
}

/// Acts in a thread until it is over.
fn thread(world: &World<'_>, number: u32) -> Outcome<Figures> {
    let number = TICKING.len() + usize::try_from(number)?;
    let mut actor = Actor::new(world, number, Context::Process)?;
    while !world.is_over() {
        let pause = if actor.act(32) { 200 } else { 1000 };
        fsleep(Delta::from_micros(pause));
    }
    end_of(actor)
}

/// What an actor has found, when it has given back what it has.
fn end_of(mut actor: Actor<'_>) -> Outcome<Figures> {
    if let Some(stop) = actor.stop.take() {
        return Err(stop);
    }
    actor.finish()?;
    Ok(actor.figures)
}

fn report(name: &str, figures: Figures) {
    pr_info!(
        "# stress: {name}: {} steps, {} buffers got, {} not got, {} looked at, {} bad handles refused\n",
        figures.steps,
        figures.got,
        figures.failed,
        figures.seen,
        figures.refused
    );
}

fn all_contexts_at_one_pool(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(NAME, SIZE)
        .page_size(SIZE * CHUNKS)
        .max_pages(PAGES)
        .low_water(LOW);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let alarm = pool.alarm_for(Bell::default())?;
    let reserve = Reserve::new(&pool, SET_ASIDE)?;
    let world = KBox::new(World::new(&pool, &reserve, &alarm), GFP_KERNEL)?;

    let mut actors = KVec::with_capacity(TICKING.len(), GFP_KERNEL)?;
    for (number, context) in TICKING.iter().enumerate() {
        actors.push(Actor::new(&world, number, *context)?, GFP_KERNEL)?;
    }
    let threads: Pin<KBox<Mutex<Figures>>> =
        KBox::pin_init(new_mutex!(Figures::default()), GFP_KERNEL)?;
    let mut samples = Samples::default();
    let outcome = ticking_all(&mut actors, &mut || {
        in_threads_while(
            THREADS,
            |number| {
                let figures = thread(&world, number).inspect_err(|_| world.end())?;
                threads.lock().add(figures);
                Ok(())
            },
            || {
                let outcome = watch(&world, &mut samples);
                world.end();
                outcome
            },
        )
    });
    let mut all = *threads.lock();
    report("threads", all);
    for (context, name) in [
        (Context::SoftIrq, "softirq"),
        (Context::HardIrq, "interrupts"),
    ] {
        let mut figures = Figures::default();
        for at in (0..actors.len()).rev() {
            if actors.get(at).is_some_and(|actor| actor.context == context) {
                figures.add(end_of(actors.remove(at).map_err(|_| EINVAL)?)?);
            }
        }
        report(name, figures);
        all.add(figures);
    }
    outcome?;

    // What is on the card for all.
    for at in 0..RING {
        if let Some((handle, _)) = world.swap(u32::try_from(at)?, None) {
            drop(pool.take(handle)?);
        }
    }
    world.look_closely()?;
    let armed = world.armed.load(Relaxed);
    drop(actors);
    drop(world);
    drop(reserve);
    let Samples {
        looks,
        close,
        waiting,
        most,
        fewest,
    } = samples;
    let number = |file| sysfs::number(POOL, file);
    pr_info!(
        "# stress: {looks} samples, {close} of all standing still, {waiting} with one who waited; {fewest} to {most} pages, \
         {} added, {} given back; alarm armed {armed} times, rang {}\n",
        number("grown")?,
        number("returned")?,
        alarm.target().rung()
    );

    // All is home, with no cache left to be in.
    let count = pool.count();
    check_eq!((count.used, count.card), (0, 0));
    sysfs::shows(POOL, &[("bad_out_of_range", 0), ("bad_stale", 0)])?;
    check_eq!(i64::try_from(number("bad_wrong_state")?)?, all.refused);
    // Memory is short still, so pages may go while one looks; a chunk that is lost stays lost.
    check!(becomes(|| {
        let free = u64::try_from(pool.count().free)?;
        Ok(number("cached")? == 0 && free == number("pages")? * u64::try_from(CHUNKS)?)
    })?);
    check!(alarm.target().rung() <= armed);
    // So all pages can go but those that stay.
    let left = u64::from(LOW).div_ceil(u64::try_from(CHUNKS)?);
    check!(becomes(|| {
        shrink()?;
        Ok(number("pages")? == left)
    })?);
    Ok(())
}
