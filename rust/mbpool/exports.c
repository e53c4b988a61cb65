// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the Rust symbols of the crate to the modules that import it.
 *
 * Rust has no EXPORT_SYMBOL; the declared type does not matter to the linker.
 */

#include <linux/export.h>

#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)

#include "exports_generated.h"
