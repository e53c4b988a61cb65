// SPDX-License-Identifier: GPL-2.0

//! What sysfs shows of a pool, read as a program would read it: the values of each file in a known
//! state, the table, and that directories come and go with their pools.

use crate::{
    check,
    check_eq,
    devices::{
        Fixture,
        SYSFS, //
    },
    ktap::{
        Outcome,
        Stop, //
    },
    tests, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CString, //
};
use mbpool::{
    Config,
    Handle,
    Pool, //
};

tests![
    each_file_shows_its_value,
    the_table_has_a_line_for_each_pool,
    the_table_says_what_it_has_no_room_for,
    directories_come_and_go_with_their_pools,
];

/// What one read of a file gives.
pub(crate) struct Text {
    bytes: KVec<u8>,
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

/// Reads a file. Process context.
pub(crate) fn read(path: &str) -> Result<Text> {
    let path = CString::try_from_fmt(fmt!("{path}"))?;
    let mut bytes = KVec::from_elem(0u8, 4096, GFP_KERNEL)?;
    // SAFETY: The path is a string that ends with a zero byte.
    let file = from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), 0, 0) })?;
    let mut position = 0;
    // SAFETY: The file is open, and `bytes` has room for what is asked for.
    let len = unsafe {
        bindings::kernel_read(
            file,
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            &raw mut position,
        )
    };
    // SAFETY: The file is open, and it was opened here.
    to_result(unsafe { bindings::filp_close(file, core::ptr::null_mut()) })?;
    bytes.truncate(usize::try_from(len).map_err(|_| EIO)?);
    Ok(Text { bytes })
}

/// The number in a file of a pool on [`Fixture::dev`].
#[track_caller]
pub(crate) fn number(pool: &str, file: &str) -> Outcome<u64> {
    let path = CString::try_from_fmt(fmt!("{SYSFS}/{pool}/{file}"))?;
    number_at(path.to_str().unwrap_or_default())
}

/// The number in a file, anywhere.
#[track_caller]
pub(crate) fn number_at(path: &str) -> Outcome<u64> {
    let text = read(path)?;
    let line = text.as_str().strip_suffix('\n');
    line.and_then(|line| line.parse().ok()).ok_or_else(|| {
        Stop::failed(
            "one number and a newline",
            fmt!("{path}: {}", text.as_str()),
        )
    })
}

/// Fails unless files of a pool on [`Fixture::dev`] have these values.
#[track_caller]
pub(crate) fn shows(pool: &str, values: &[(&str, u64)]) -> Outcome {
    for (file, value) in values {
        let found = number(pool, file)?;
        if found != *value {
            return Err(Stop::failed(
                "the value of a file in sysfs",
                fmt!("{pool}/{file}: found {found}, expected {value}"),
            ));
        }
    }
    Ok(())
}

fn each_file_shows_its_value(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"values", 1500)
        .align(4)
        .boundary(4096)
        .page_size(8192)
        .max_pages(3)
        .initial_pages(1)
        .user_bits(2, 7);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    shows(
        "values",
        &[
            ("size", 1500),
            ("align", 4),
            ("boundary", 4096),
            ("page_size", 8192),
            ("chunks_per_page", 4),
            ("max_pages", 3),
            ("user_bits_high", 2),
            ("user_bits_low", 7),
            // 32 less 2 and 7 of the caller, 2 for the page, 2 for the chunk.
            ("generation_bits", 19),
            ("pages", 1),
            ("free", 4),
            ("card", 0),
            ("used", 0),
            ("high_water", 0),
            ("allocations", 0),
            ("grown", 1),
            ("failures_atomic", 0),
            ("failures_nowait", 0),
            ("failures_sleep", 0),
            ("bad_out_of_range", 0),
            ("bad_stale", 0),
            ("bad_wrong_state", 0),
        ],
    )?;

    // Six out, of which two come back; one taken; one handle refused for each reason.
    let posted = [
        pool.post(GFP_KERNEL)?,
        pool.post(GFP_KERNEL)?,
        pool.post(GFP_KERNEL)?,
    ];
    let mut buffers = KVec::with_capacity(3, GFP_KERNEL)?;
    for _ in 0..3 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    buffers.pop();
    buffers.pop();
    let [first, second, _] = posted;
    let taken = pool.take(first.handle)?;
    check!(pool.take(first.handle).is_err());
    check!(pool.take(Handle::from_raw(u32::MAX)).is_err());
    pool.take(second.handle)?.post();
    check!(pool.peek(second.handle).is_err());
    shows(
        "values",
        &[
            ("pages", 2),
            ("free", 4),
            ("card", 2),
            ("used", 2),
            ("high_water", 6),
            ("allocations", 6),
            ("grown", 2),
            ("bad_out_of_range", 1),
            ("bad_stale", 1),
            ("bad_wrong_state", 1),
        ],
    )?;
    drop(taken);
    drop(buffers);
    check_eq!(pool.reclaim_card(), 2);
    shows(
        "values",
        &[("free", 8), ("card", 0), ("used", 0), ("high_water", 6)],
    )
}

fn the_table_has_a_line_for_each_pool(on: &Fixture<'_>) -> Outcome {
    let path = CString::try_from_fmt(fmt!("{SYSFS}/pools"))?;
    let path = path.to_str().unwrap_or_default();
    let one = Config::new(c"rx-large", 2048).page_size(8192);
    let two = Config::new(c"a-name-that-takes-31-characters", 64).page_size(4096);
    let one = Pool::new(on.dev, one.initial_pages(2), GFP_KERNEL)?;
    let two = Pool::new(on.dev, two, GFP_KERNEL)?;
    let posted = one.post(GFP_KERNEL)?;
    let buffer = one.alloc(GFP_KERNEL)?;
    let small = two.alloc(GFP_KERNEL)?;
    // The columns of mm/dmapool.c: "%-16s %4zu %4zu %4u %2zu\n".
    check_eq!(
        read(path)?.as_str(),
        "poolinfo - 0.1\n\
         rx-large            2    8 2048  2\n\
         a-name-that-takes-31-characters    1   64   64  1\n"
    );
    drop(small);
    drop(two);
    check_eq!(
        read(path)?.as_str(),
        "poolinfo - 0.1\nrx-large            2    8 2048  2\n"
    );
    drop(buffer);
    drop(pool_take(&one, posted)?);
    Ok(())
}

/// A pool whose name has so many bytes.
fn named<'a>(on: &Fixture<'a>, number: usize, len: usize) -> Outcome<Pool<'a>> {
    let name = CString::try_from_fmt(fmt!("{number:0len$}"))?;
    Ok(Pool::new(on.dev, Config::new(&name, 64), GFP_KERNEL)?)
}

/// Up to the last byte of the page, and beyond. The kernel warns of a page that is full.
fn the_table_says_what_it_has_no_room_for(on: &Fixture<'_>) -> Outcome {
    const HEAD: usize = "poolinfo - 0.1\n".len();
    const FIGURES: usize = "    0    0   64  0\n".len();
    const LONG: usize = 31;
    const FULL: usize = 80;
    let path = CString::try_from_fmt(fmt!("{SYSFS}/pools"))?;
    let path = path.to_str()?;

    let mut pools = KVec::with_capacity(FULL + 3, GFP_KERNEL)?;
    for number in 0..FULL {
        pools.push(named(on, number, LONG)?, GFP_KERNEL)?;
    }
    for len in 16..=LONG {
        let last = (named(on, FULL, 21)?, named(on, FULL + 1, len)?);
        let want = HEAD + FULL * (LONG + FIGURES) + 21 + len + 2 * FIGURES;
        let text = read(path)?;
        let text = text.as_str();
        if want < PAGE_SIZE {
            check_eq!(text.len(), want);
            check_eq!(text.lines().count(), 1 + FULL + 2);
        } else {
            check!(text.len() < PAGE_SIZE, "{} of {want} bytes", text.len());
            check!(text.ends_with("\n... and 1 more\n"), "{want} bytes");
            check_eq!(text.lines().count(), 1 + FULL + 2);
        }
        drop(last);
    }
    // Where there was room for the last one, there is none for a further one and what is to be said.
    let _last = (
        named(on, FULL, 21)?,
        named(on, FULL + 1, 16)?,
        named(on, FULL + 2, 16)?,
    );
    check!(read(path)?.as_str().ends_with("\n... and 2 more\n"));
    Ok(())
}

fn pool_take<'a>(pool: &'a Pool<'_>, posted: mbpool::Posted) -> Outcome<mbpool::Buffer<'a>> {
    Ok(pool.take(posted.handle)?)
}

fn directories_come_and_go_with_their_pools(on: &Fixture<'_>) -> Outcome {
    let there = |file: &str| -> Outcome<bool> {
        let path = CString::try_from_fmt(fmt!("{SYSFS}{file}"))?;
        Ok(read(path.to_str().unwrap_or_default()).is_ok())
    };
    for _ in 0..3 {
        check!(!there("/pools")?);
        let first = Pool::new(on.dev, Config::new(c"first", 64), GFP_KERNEL)?;
        let second = Pool::new(on.dev, Config::new(c"second", 64), GFP_KERNEL)?;
        check!(there("/pools")?);
        check!(there("/first/size")?);
        check!(there("/second/size")?);
        drop(first);
        check!(!there("/first/size")?);
        check!(there("/second/size")?);
        check!(there("/pools")?);
        drop(second);
        check!(!there("/second/size")?);
        check!(!there("/pools")?);
    }
    Ok(())
}
