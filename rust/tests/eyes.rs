// SPDX-License-Identifier: GPL-2.0

//! Unprivileged eyes: for a script that looks at sysfs as anybody may. A crowd of pools on one device, with
//! all that must not be seen of it in a file for root; and pools that come and go under readers.

use crate::{
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::QUIET,
    tests, //
};
use core::ptr;
use kernel::{
    alloc::KVVec,
    debugfs::{
        Dir,
        File, //
    },
    device::{
        Bound,
        Device, //
    },
    fmt,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::Arc, //
};
use mbpool::{
    Buffer,
    Cache,
    Client,
    Config,
    Handle,
    Heap,
    HeapConfig,
    Pool,
    Quota,
    Reserve, //
};

tests![pools_come_and_go];

/// Pools of a crowd. Their lines are more than a page of text holds.
const POOLS: usize = 200;

/// Addresses that nobody but root may see: of chunks, for the CPU and for the device, and of what the kernel
/// allocated for pools and for the device.
#[derive(Default)]
struct Secrets(KVVec<u64>);

impl Secrets {
    fn add(&mut self, address: u64) -> Result {
        Ok(self.0.push(address, GFP_KERNEL)?)
    }

    fn add_pointer<T: ?Sized>(&mut self, pointer: *const T) -> Result {
        self.add(u64::try_from(pointer.addr())?)
    }

    fn add_buffer(&mut self, buffer: &Buffer<'_>) -> Result {
        self.add_pointer(buffer.as_ptr())?;
        self.add(buffer.dma_address())
    }

    /// All chunks that a pool has for who does not wait, and where it is itself.
    fn add_pool(&mut self, pool: &Pool<'_>) -> Result {
        let mut buffers = KVVec::new();
        while let Ok(buffer) = pool.alloc(GFP_NOWAIT | QUIET) {
            self.add_buffer(&buffer)?;
            buffers.push(buffer, GFP_KERNEL)?;
        }
        if let Some(buffer) = buffers.pop() {
            let ext = buffer.into_ext();
            self.add_pointer(ext.pool)?;
            // SAFETY: The first call with these arguments.
            unsafe { (ext.free)(ext.pool, ext.token) };
        }
        Ok(())
    }

    /// Each address in a line, as it could be written: in hex and in decimal.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for address in &self.0 {
            writeln!(f, "{address:x}\n{address}")?;
        }
        Ok(())
    }
}

/// As many pools as no page has lines for, a heap, clients of a shared pool, and a reserve: with something in
/// each of their files.
pub(crate) struct Crowd<'bound> {
    _secrets: Pin<KBox<File<Secrets>>>,
    _caches: KVec<Cache>,
    _reserve: Reserve<Arc<Pool<'bound>>>,
    pools: KVec<Pool<'bound>>,
    clients: KVec<Client<'bound>>,
    _heap: Heap<'bound>,
}

impl<'bound> Crowd<'bound> {
    /// If `planted`, three pools are called by addresses of the first one's.
    pub(crate) fn new(dev: &'bound Device<Bound>, planted: bool) -> Result<Self> {
        let mut secrets = Secrets::default();
        secrets.add_pointer(ptr::from_ref(dev))?;

        let mut pools = KVec::with_capacity(POOLS, GFP_KERNEL)?;
        if planted {
            plant(dev, &mut pools)?;
        }
        for number in pools.len()..POOLS {
            // As long as a name can be, and not to be taken for a number.
            let name = CString::try_from_fmt(fmt!("rx-queue-number-{number:03}-of-the-crowd"))?;
            let name = name.to_bytes().get(..31).ok_or(EINVAL)?;
            let name = CString::try_from_fmt(fmt!("{}", core::str::from_utf8(name)?))?;
            pools.push(busy(dev, &name, number)?, GFP_KERNEL)?;
        }
        let mut caches = KVec::new();
        for pool in &pools {
            secrets.add_pool(pool)?;
            used(pool)?;
            let mut cache = pool.cache()?;
            drop(cache.on(pool)?.alloc(GFP_KERNEL)?);
            caches.push(cache, GFP_KERNEL)?;
        }

        let pool = Arc::new(busy(dev, c"with-a-reserve", 0)?, GFP_KERNEL)?;
        secrets.add_pool(&pool)?;
        let reserve = Reserve::new(pool, 3)?;

        let mut clients = KVec::new();
        for name in [c"one", c"two", c"three"] {
            let client = join(dev, name)?;
            secrets.add_pointer(client.alloc(GFP_KERNEL)?.as_ptr())?;
            secrets.add(client.post(GFP_KERNEL)?.dma)?;
            clients.push(client, GFP_KERNEL)?;
        }

        let heap = Heap::new(dev, HeapConfig::new(c"heap"))?;
        for size in [16, 100, 3000, 10_000] {
            let bytes = heap.alloc(size, GFP_KERNEL)?;
            secrets.add_pointer(bytes.as_ptr())?;
            secrets.add(bytes.dma_address())?;
        }

        let dir = Dir::new(c"mbpool_test");
        let file = dir.read_callback_file(c"secrets", Ok::<_, Error>(secrets), &Secrets::show);
        Ok(Self {
            _secrets: KBox::pin_init(file, GFP_KERNEL)?,
            _caches: caches,
            _reserve: reserve,
            pools,
            clients,
            _heap: heap,
        })
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for pool in &self.pools {
            pool.reclaim_card();
        }
        for client in &self.clients {
            client.reclaim_card();
        }
    }
}

/// A pool with a page.
fn busy<'bound>(dev: &'bound Device<Bound>, name: &CStr, number: usize) -> Result<Pool<'bound>> {
    let config = Config::new(name, 512 << (number % 3))
        .page_size(4096)
        .max_pages(4)
        .initial_pages(1);
    Pool::new(dev, config, GFP_KERNEL)
}

/// Leaves something on the card, and something to be counted.
fn used(pool: &Pool<'_>) -> Result {
    let first = pool.post(GFP_KERNEL)?.handle;
    pool.post(GFP_KERNEL)?;
    drop(pool.take(first)?);
    for handle in [first, Handle::from_raw(u32::MAX)] {
        if pool.take(handle).is_ok() {
            return Err(EBADF);
        }
    }
    Ok(())
}

/// A client of a pool that it shares with others.
fn join<'bound>(dev: &'bound Device<Bound>, name: &CStr) -> Result<Client<'bound>> {
    let config = Config::new(name, 1024).max_pages(8);
    Client::new(dev, config, Quota::new(2).cap(9), GFP_KERNEL)
}

/// What must not be: a pool, and others whose names are where a buffer of it lies.
fn plant<'bound>(dev: &'bound Device<Bound>, pools: &mut KVec<Pool<'bound>>) -> Result {
    let first = busy(dev, c"planted", 0)?;
    let (cpu, dma) = {
        let buffer = first.alloc(GFP_KERNEL)?;
        (buffer.as_ptr().addr(), buffer.dma_address())
    };
    pools.push(first, GFP_KERNEL)?;
    for name in [
        CString::try_from_fmt(fmt!("planted-{cpu:x}"))?,
        CString::try_from_fmt(fmt!("planted-{dma:x}"))?,
        CString::try_from_fmt(fmt!("planted-{dma}"))?,
    ] {
        pools.push(busy(dev, &name, 0)?, GFP_KERNEL)?;
    }
    Ok(())
}

/// Of every kind that has a directory, over and over.
fn pools_come_and_go(on: &Fixture<'_>) -> Outcome {
    // A kernel that checks each access takes several times as long.
    const ROUNDS: usize = if cfg!(CONFIG_KASAN) { 50 } else { 250 };
    const AT_ONCE: usize = 16;
    for _ in 0..ROUNDS {
        let mut pools = KVec::with_capacity(AT_ONCE, GFP_KERNEL)?;
        for number in 0..AT_ONCE {
            let name = CString::try_from_fmt(fmt!("rx{number}"))?;
            let pool = busy(on.dev, &name, number)?;
            used(&pool)?;
            pools.push(pool, GFP_KERNEL)?;
        }
        let pool = busy(on.dev, c"tx", 0)?;
        let reserve = Reserve::new(&pool, 2)?;
        let heap = Heap::new(on.dev, HeapConfig::new(c"heap"))?;
        let bytes = (heap.alloc(100, GFP_KERNEL)?, heap.alloc(16, GFP_KERNEL)?);
        let clients = [join(on.dev, c"one")?, join(on.dev, c"two")?];
        let buffers = (clients[0].alloc(GFP_KERNEL)?, clients[1].alloc(GFP_KERNEL)?);
        check_eq!(pool.count().used, 2);

        drop((buffers, bytes, reserve));
        for pool in &pools {
            check_eq!(pool.reclaim_card(), 1);
        }
    }
    // Those of a round, that with a reserve, two classes of the heap, and the one that is shared.
    pr_info!("# eyes: {} pools came and went\n", ROUNDS * (AT_ONCE + 4));
    Ok(())
}
