// SPDX-License-Identifier: GPL-2.0

//! What a hostile card counts, for the card and for tests; the driver knows nothing of it.

/// Makes the list and the names from one table.
macro_rules! tallies {
    ($($(#[$doc:meta])* $kind:ident = $number:literal, $name:literal;)*) => {
        /// What a hostile card counts, in the registers from [`TALLY`](crate::lab::TALLY) on. First what it made
        /// of a descriptor, then what it did beside that, then what the driver must have made of it, and at
        /// last what the card has seen of the driver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Tally {
            $($(#[$doc])* $kind = $number,)*
        }

        impl Tally {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Tally] = &[$(Tally::$kind,)*];

            /// Its name, as commands and the manual have it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Tally::$kind => $name,)*
                }
            }
        }
    };
}

tallies! {
    /// A buffer with a frame, as it should be.
    Honest = 0, "honest";
    /// The same, but of a buffer that others have overtaken.
    Late = 1, "late";
    /// True handle, and a length that the buffer holds; sequence and flags are anything.
    Odd = 2, "odd";
    /// A buffer with a frame, and then writes to it and to one that was returned before it.
    Scribbled = 3, "scribbled";
    /// A buffer with a frame, whose length is then rewritten again and again, to past the buffer's end
    /// and back.
    Rewritten = 4, "rewritten";
    /// A buffer with a frame, whose handle is then rewritten to another's and back, and then both: three
    /// descriptors for two buffers.
    Swapped = 5, "swapped";
    /// Handle 0.
    Zero = 6, "zero";
    /// Any word, or any with the bits of the right pool.
    Random = 7, "random";
    /// A true handle with up to three bits flipped.
    Flipped = 8, "flipped";
    /// A handle of an earlier trip.
    Stale = 9, "stale";
    /// The handle that was returned last.
    Repeated = 10, "repeated";
    /// A handle that another group holds.
    Foreign = 11, "foreign";
    /// The cookie of a frame that was sent.
    Crossed = 12, "crossed";
    /// A true handle, and a length that no frame has.
    Short = 13, "short";
    /// A true handle, and a length past the buffer's end.
    Long = 14, "long";
    /// A true handle with the error flag.
    Failed = 15, "failed";
    /// A completion of no frame: 0, any word, a cookie of before, or a buffer's handle.
    Completion = 16, "completion";
    /// Places of the ring that are left out.
    Skipped = 17, "skipped";
    /// A descriptor with the wrong phase.
    Unphased = 18, "unphased";
    /// The handle that the driver will give next for a buffer.
    Foretold = 19, "foretold";
    /// A buffer that is not returned until the reset. No descriptor.
    Kept = 20, "kept";
    /// Descriptors over such that the driver has not consumed.
    Overrun = 21, "overrun";
    /// Vectors raised without a cause.
    Interrupt = 22, "interrupt";
    /// Descriptors for which no vector was raised before the next one.
    Muted = 23, "muted";
    /// Events that did not happen, with any word for an error.
    Event = 24, "event";
    /// Reads of statistics that were answered with all ones.
    Lied = 25, "lied";
    /// Frames that the driver has to take.
    Taken = 26, "taken";
    /// Handles that it has to refuse.
    Refused = 27, "refused";
    /// Lengths that it has to refuse.
    BadLength = 28, "bad-length";
    /// Buffers without a frame.
    Flagged = 29, "flagged";
    /// Descriptors that are a frame or a bad length, as the driver's read falls.
    Either = 30, "either";
    /// Completions that it has to refuse.
    BadCookie = 31, "bad-cookie";
    /// Buffers that the driver gave while the card had them, or a part of them.
    Twice = 32, "twice";
    /// Receive buffers that the card holds now.
    Held = 33, "held";
}
