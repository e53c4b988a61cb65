// SPDX-License-Identifier: GPL-2.0

//! What a driver may ask for: each senseless parameter is refused before anything is allocated, and
//! the edges of what makes sense are accepted.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    prelude::*,
    str::CStr, //
};
use mbpool::{
    Config,
    Pool, //
};

tests![
    the_usual_parameters,
    senseless_parameters_are_refused_before_anything_is_allocated,
    senseless_names_are_refused,
    names_up_to_31_bytes_are_accepted,
    a_name_is_unique_on_a_device,
    a_device_without_a_mask_is_refused,
    initial_pages_are_there_at_once,
    initial_pages_that_cannot_be_had_are_given_back,
    chunks_of_one_byte,
    the_largest_chunk,
    the_largest_mbpool_has_no_generation,
];

fn the_usual_parameters(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, Config::new(c"usual", 2048), GFP_KERNEL)?;
    check_eq!(pool.chunk_size(), 2048);
    check!(pool.name() == c"usual");
    check_eq!(pool.count(), count(0, 0, 0));
    sysfs::shows(
        "usual",
        &[
            ("size", 2048),
            ("align", 8),
            ("boundary", 0),
            ("page_size", 4096),
            ("chunks_per_page", 2),
            ("max_pages", 1024),
            ("user_bits_high", 0),
            ("user_bits_low", 0),
            ("generation_bits", 21),
            ("pages", 0),
            ("grown", 0),
        ],
    )
}

fn senseless_parameters_are_refused_before_anything_is_allocated(on: &Fixture<'_>) -> Outcome {
    // More than the device can reach: if a page were allocated first, the answer would be ENOMEM.
    let base = Config::new(c"refused", 2048)
        .page_size(4096)
        .max_pages(16383)
        .initial_pages(16383);
    let found = Pool::new(on.narrow, base, GFP_NOWAIT | QUIET).err();
    check_eq!(found, Some(ENOMEM));

    let sized = |size| Config::new(c"refused", size).initial_pages(1024);
    let senseless = [
        ("no size", sized(0)),
        ("size above 4 MiB", sized((4 << 20) + 1)),
        ("size of all memory", sized(usize::MAX)),
        ("no align", base.align(0)),
        ("align 48", base.align(48)),
        ("align above 4 MiB", base.align(8 << 20)),
        ("largest align", base.align(1 << (usize::BITS - 1))),
        ("boundary 3000", base.boundary(3000)),
        ("boundary below the size", base.boundary(1024)),
        ("page_size above 4 MiB", base.page_size((4 << 20) + 1)),
        ("page_size of all memory", base.page_size(usize::MAX)),
        ("page_size below the size", sized(5000).page_size(4096)),
        ("page_size below align", base.align(8192).page_size(4096)),
        ("chunks in a page", sized(1).align(1).page_size(128 << 10)),
        ("no pages", base.max_pages(0).initial_pages(0)),
        ("16384 pages", base.max_pages(16384)),
        ("max_pages", base.max_pages(u32::MAX)),
        ("initial above max", base.max_pages(8).initial_pages(9)),
        ("initial_pages", base.initial_pages(u32::MAX)),
        ("chunks in all", sized(1).align(1).max_pages(4097)),
        ("more handle bits than 32", base.user_bits(9, 9)),
        ("high bits", base.user_bits(32, 0)),
        ("low bits", base.user_bits(0, 32)),
        ("sum of bits", base.user_bits(u32::MAX, u32::MAX)),
    ];
    for (what, config) in senseless {
        let found = Pool::new(on.narrow, config, GFP_NOWAIT | QUIET).err();
        if found != Some(EINVAL) {
            return Err(Stop::failed("EINVAL", fmt!("{what}: found {found:?}")));
        }
    }
    Ok(())
}

fn senseless_names_are_refused(on: &Fixture<'_>) -> Outcome {
    let names: [&CStr; 10] = [
        c"",
        c".",
        c"..",
        c"pools",
        c"a/b",
        c"/",
        c"two words",
        c"a\nline",
        c"\xffname",
        c"this-name-has-32-characters-long",
    ];
    for name in names {
        let found = Pool::new(on.dev, Config::new(name, 64), GFP_KERNEL).err();
        if found != Some(EINVAL) {
            return Err(Stop::failed("EINVAL", fmt!("{name}: found {found:?}")));
        }
    }
    Ok(())
}

fn names_up_to_31_bytes_are_accepted(on: &Fixture<'_>) -> Outcome {
    let names: [&CStr; 4] = [
        c"x",
        c"...",
        c"rx0-large_%s~!#",
        c"a-name-that-takes-31-characters",
    ];
    for name in names {
        let pool = Pool::new(on.dev, Config::new(name, 64), GFP_KERNEL)?;
        check!(pool.name() == name);
        sysfs::shows(name.to_str().unwrap_or_default(), &[("size", 64)])?;
    }
    Ok(())
}

fn a_name_is_unique_on_a_device(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"only-one", 64).initial_pages(1);
    let first = Pool::new(on.dev, config, GFP_KERNEL)?;
    for _ in 0..3 {
        let second = Pool::new(on.dev, config, GFP_KERNEL).err();
        check_eq!(second, Some(EEXIST));
    }
    // The first one did not notice.
    check_eq!(first.count(), count(0, 0, 64));
    sysfs::shows("only-one", &[("pages", 1)])?;
    // Another device has names of its own, and a name is free again when its pool is gone.
    let elsewhere = Pool::new(on.narrow, config, GFP_KERNEL)?;
    drop(first);
    let again = Pool::new(on.dev, config, GFP_KERNEL)?;
    drop((elsewhere, again));
    Ok(())
}

fn a_device_without_a_mask_is_refused(on: &Fixture<'_>) -> Outcome {
    let found = Pool::new(on.maskless, Config::new(c"none", 64), GFP_KERNEL).err();
    check_eq!(found, Some(ENODEV));
    Ok(())
}

fn initial_pages_are_there_at_once(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"initial", 1024).page_size(4096).max_pages(8);
    for pages in [1, 5, 8] {
        let pool = Pool::new(on.dev, config.initial_pages(pages), GFP_KERNEL)?;
        check_eq!(pool.count(), count(0, 0, usize::try_from(pages * 4)?));
        sysfs::shows(
            "initial",
            &[("pages", pages.into()), ("grown", pages.into())],
        )?;
    }
    Ok(())
}

fn initial_pages_that_cannot_be_had_are_given_back(on: &Fixture<'_>) -> Outcome {
    let much = Config::new(c"much", 4096)
        .max_pages(8192)
        .initial_pages(8192);
    for _ in 0..3 {
        for gfp in [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC] {
            let found = Pool::new(on.narrow, much, gfp | QUIET).err();
            check_eq!(found, Some(ENOMEM));
        }
    }
    // All came back, or there would be none for this: a quarter of what the device reaches.
    let some = Pool::new(on.narrow, much.initial_pages(1024), GFP_KERNEL | QUIET)?;
    check_eq!(some.count(), count(0, 0, 1024));
    Ok(())
}

fn chunks_of_one_byte(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"bytes", 1).align(1).max_pages(1);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    for at in 0..4096u32 {
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        check_eq!(buffer.len(), 1);
        buffer.fill(at.to_le_bytes()[0]);
        buffers.push(buffer, GFP_KERNEL)?;
    }
    check_eq!(pool.alloc(GFP_KERNEL).err(), Some(ENOMEM));
    for (at, buffer) in (0..4096u32).zip(&buffers) {
        check_eq!(buffer.first().copied(), Some(at.to_le_bytes()[0]));
    }
    Ok(())
}

fn the_largest_chunk(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"huge", 4 << 20)
        .align(4 << 20)
        .boundary(4 << 20)
        .max_pages(1);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    check_eq!(buffer.len(), 4 << 20);
    check_eq!(buffer.dma_address() % (4 << 20), 0);
    if let Some(last) = buffer.last_mut() {
        *last = 0x5a;
    }
    let taken = pool.take(buffer.post().handle)?;
    check_eq!(taken.last().copied(), Some(0x5a));
    Ok(())
}

fn the_largest_mbpool_has_no_generation(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"mbpool", 8)
        .page_size(4096)
        .max_pages(16383)
        .user_bits(2, 7);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    sysfs::shows(
        "mbpool",
        &[
            ("chunks_per_page", 512),
            ("max_pages", 16383),
            ("generation_bits", 0),
        ],
    )?;
    let posted = pool.post(GFP_KERNEL)?;
    let marked = pool.with_user_bits(posted.handle, 3, 127)?;
    drop(pool.take(marked)?);
    check_eq!(pool.count(), count(0, 0, 512));
    // The state alone refuses a handle twice.
    check!(pool.take(marked).is_err());
    Ok(())
}
