// SPDX-License-Identifier: GPL-2.0

//! A directory in sysfs with files that format a Rust value: the FFI of kobjects, behind a safe face.

use core::{
    fmt::Write,
    marker::PhantomPinned,
    slice, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CStr, //
    },
    sync::Completion,
    types::Opaque, //
};

/// Files that show a value of the type.
pub(super) trait Show: Sized + Send + Sync + 'static {
    /// The files of the directory.
    const FILES: &'static [File<Self>];
}

/// A file: its name, and what it shows.
#[repr(C)]
pub(super) struct File<T> {
    attribute: bindings::attribute,
    show: fn(&T, &mut Text<'_>) -> fmt::Result,
}

impl<T> File<T> {
    /// A file that anybody may read.
    pub(super) const fn new(
        name: &'static CStr,
        show: fn(&T, &mut Text<'_>) -> fmt::Result,
    ) -> Self {
        // SAFETY: All zeroes are a valid `attribute`.
        let mut attribute: bindings::attribute = unsafe { core::mem::zeroed() };
        attribute.name = as_char_ptr_in_const_context(name);
        attribute.mode = 0o444;
        Self { attribute, show }
    }
}

/// Files of one number: the field with the `Arc` that they are of; of each a name, and where the number
/// comes from.
macro_rules! numbers {
    ($field:tt: $($name:literal: |$from:ident| $value:expr,)*) => {
        &[$(
            $crate::sysfs::kobject::File::new($name, |files, text| {
                let $from = &*files.$field;
                text.line(fmt!("{}", $value))
            }),
        )*]
    };
}
pub(super) use numbers;

/// What a reader gets: less than a page of text.
pub(super) struct Text<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl Text<'_> {
    /// Writes a whole line or, if it does not fit, nothing.
    pub(super) fn line(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        self.line_before(0, args)
    }

    /// Writes a whole line or, if it does not fit with `more` bytes after it, nothing.
    pub(super) fn line_before(&mut self, more: usize, args: fmt::Arguments<'_>) -> fmt::Result {
        let len = self.len;
        let result = self.write_fmt(args).and_then(|()| self.write_str("\n"));
        if result.is_err() || self.page.len() - self.len < more {
            self.len = len;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.page.get_mut(self.len..).ok_or(fmt::Error)?;
        let room = room.get_mut(..s.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

/// A directory that shows a `T`, from when it is made until it is dropped.
///
/// # Invariants
///
/// `kobject` is initialised, and nobody holds a reference to it after `released` is complete.
#[pin_data(PinnedDrop)]
pub(super) struct Directory<T: Show> {
    #[pin]
    kobject: Opaque<bindings::kobject>,
    #[pin]
    released: Completion,
    #[pin]
    value: T,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A `kobject` may be used from any thread, and `T` is `Send`.
unsafe impl<T: Show> Send for Directory<T> {}
// SAFETY: Only `T` is reached through a shared reference, and it is `Sync`.
unsafe impl<T: Show> Sync for Directory<T> {}

impl<T: Show> Directory<T> {
    const OPS: bindings::sysfs_ops = bindings::sysfs_ops {
        show: Some(Self::show),
        store: None,
    };

    const TYPE: bindings::kobj_type = bindings::kobj_type {
        release: Some(Self::release),
        sysfs_ops: &Self::OPS,
        default_groups: core::ptr::null_mut(),
        child_ns_type: None,
        namespace: None,
        get_ownership: None,
    };

    /// Makes the directory `name` under `parent`, with all its files. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// `parent` is a valid kobject for as long as the directory exists.
    pub(super) unsafe fn new(
        parent: *mut bindings::kobject,
        name: &CStr,
        value: impl PinInit<T, Error>,
    ) -> Result<Pin<KBox<Self>>> {
        let init = try_pin_init!(Self {
            // SAFETY: `slot` is valid for writes; all zeroes and then `kobject_init` make a `kobject`.
            kobject <- unsafe {
                pin_init::pin_init_from_closure(|slot: *mut Opaque<bindings::kobject>| {
                    let kobject = Opaque::cast_into(slot);
                    kobject.write_bytes(0, 1);
                    bindings::kobject_init(kobject, &const { Self::TYPE });
                    Ok::<(), Error>(())
                })
            },
            released <- Completion::new(),
            value <- value,
            _pin: PhantomPinned,
        }? Error);
        // INVARIANT: `kobject_init` was called; the one reference is ours until we are dropped.
        let directory = KBox::pin_init(init, GFP_KERNEL)?;

        // SAFETY: The kobject is initialised, the caller vouches for `parent`, and the format takes
        // one string.
        to_result(unsafe {
            bindings::kobject_add(
                directory.kobject.get(),
                parent,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        for file in T::FILES {
            // SAFETY: The kobject was added, and the file is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(
                    directory.kobject.get(),
                    &file.attribute,
                    core::ptr::null(),
                )
            })?;
        }
        Ok(directory)
    }

    /// The value that the directory shows.
    pub(super) fn value(&self) -> &T {
        &self.value
    }

    /// The kobject, to be a parent.
    pub(super) fn as_parent(&self) -> *mut bindings::kobject {
        self.kobject.get()
    }

    /// # Safety
    ///
    /// Called by sysfs with a kobject and an attribute of a `Directory<T>`, and a page to write to.
    unsafe extern "C" fn show(
        kobject: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The kobject is the field of a `Directory<T>`, which sysfs keeps from being dropped
        // while a file is being read.
        let directory = unsafe { &*container_of!(Opaque::cast_from(kobject), Self, kobject) };
        // SAFETY: The attribute is the field of one of `T::FILES`.
        let file = unsafe { &*container_of!(attribute, File<T>, attribute) };
        // One byte less: sysfs takes a page that is full for one that was overrun, and warns.
        // SAFETY: sysfs gives a page, zeroed, to each reader.
        let page = unsafe { slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE - 1) };

        let mut text = Text { page, len: 0 };
        // What did not fit is left out: there is nobody to tell but the reader, who sees the rest.
        let _ = (file.show)(&directory.value, &mut text);
        // CAST: Less than a page.
        text.len as isize
    }

    /// # Safety
    ///
    /// Called by the kobject layer when the last reference is gone.
    unsafe extern "C" fn release(kobject: *mut bindings::kobject) {
        // SAFETY: The kobject is the field of a `Directory<T>`, whose drop waits for us.
        let directory = unsafe { &*container_of!(Opaque::cast_from(kobject), Self, kobject) };
        directory.released.complete_all();
    }
}

#[pinned_drop]
impl<T: Show> PinnedDrop for Directory<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The kobject is initialised. Removing it waits for readers; that it was perhaps never
        // added does not matter. The reference that is put is the one from initialisation.
        unsafe {
            bindings::kobject_del(self.kobject.get());
            bindings::kobject_put(self.kobject.get());
        }
        self.released.wait_for_completion();
    }
}
