// SPDX-License-Identifier: GPL-2.0

//! What the fuzzer found worth keeping (`rust/fuzz/corpus`), run once more.

#[path = "../../fuzz/src/bytes.rs"]
mod bytes;
#[path = "../../fuzz/src/geometry.rs"]
mod geometry;
#[path = "../../fuzz/src/pool.rs"]
mod pool;

use std::{
    fs,
    path::Path, //
};

fn each(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut files = 0;
    for entry in fs::read_dir(corpus.join(target)).expect("a corpus") {
        let path = entry.expect("a file").path();
        println!("{}", path.display());
        run(&fs::read(path).expect("its bytes"));
        files += 1;
    }
    assert!(files > 20, "{files} files");
}

#[test]
fn geometry_stands_its_corpus() {
    each("geometry", geometry::run);
}

#[test]
fn pool_stands_its_corpus() {
    each("pool", pool::run);
}
