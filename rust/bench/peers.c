// SPDX-License-Identifier: GPL-2.0
/*
 * What the pool is compared with: the kernel's own allocators, each called as a driver calls it from its
 * poll function, with GFP_ATOMIC.
 *
 * One peer is set up at a time, so each keeps its state in a static variable. A loop looks at each
 * result, as a driver must, and lets the compiler know nothing of what it got.
 */

#include <linux/bottom_half.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <net/page_pool/helpers.h>

#include "peers.h"

static struct device *device;
static unsigned int bytes;

static int set_up_nothing(struct device *dev, unsigned int size)
{
	device = dev;
	bytes = size;
	return 0;
}

static void tear_down_nothing(void)
{
}

/*
 * What the loop itself costs: taken off all rows of C. Of two instructions, as the others are, which call
 * something and so are not unrolled.
 */
static int run_loop(unsigned int n)
{
#pragma GCC unroll 1
	do {
		barrier();
	} while (--n);
	return 0;
}

static struct dma_pool *dma_pool;

static int set_up_dma_pool(struct device *dev, unsigned int size)
{
	dma_pool = dma_pool_create("mbpool_bench", dev, size, 8, 0);
	return dma_pool ? 0 : -ENOMEM;
}

static int run_dma_pool(unsigned int n)
{
	dma_addr_t dma;

	while (n--) {
		void *block = dma_pool_alloc(dma_pool, GFP_ATOMIC, &dma);

		if (!block)
			return -ENOMEM;
		barrier_data(block);
		dma_pool_free(dma_pool, block, dma);
	}
	return 0;
}

static void tear_down_dma_pool(void)
{
	dma_pool_destroy(dma_pool);
}

static struct kmem_cache *cache;

static int set_up_cache(struct device *dev, unsigned int size)
{
	cache = kmem_cache_create("mbpool_bench", size, 8, SLAB_NO_MERGE, NULL);
	return cache ? 0 : -ENOMEM;
}

static int run_cache(unsigned int n)
{
	while (n--) {
		void *object = kmem_cache_alloc(cache, GFP_ATOMIC);

		if (!object)
			return -ENOMEM;
		barrier_data(object);
		kmem_cache_free(cache, object);
	}
	return 0;
}

static void tear_down_cache(void)
{
	kmem_cache_destroy(cache);
}

static int run_kmalloc(unsigned int n)
{
	unsigned int size = bytes;

	while (n--) {
		void *object;

		OPTIMIZER_HIDE_VAR(size);
		object = kmalloc(size, GFP_ATOMIC);
		if (!object)
			return -ENOMEM;
		barrier_data(object);
		kfree(object);
	}
	return 0;
}

static mempool_t *mempool;

static int set_up_mempool(struct device *dev, unsigned int size)
{
	int ret = set_up_cache(dev, size);

	if (ret)
		return ret;
	mempool = mempool_create_slab_pool(16, cache);
	if (mempool)
		return 0;
	tear_down_cache();
	return -ENOMEM;
}

static int run_mempool(unsigned int n)
{
	while (n--) {
		void *object = mempool_alloc(mempool, GFP_ATOMIC);

		if (!object)
			return -ENOMEM;
		barrier_data(object);
		mempool_free(object, mempool);
	}
	return 0;
}

static void tear_down_mempool(void)
{
	mempool_destroy(mempool);
	tear_down_cache();
}

static struct page_pool *page_pool;

static int set_up_page_pool(struct device *dev, unsigned int size)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP,
		.pool_size = 256,
		.nid = NUMA_NO_NODE,
		.dev = dev,
		.dma_dir = DMA_FROM_DEVICE,
	};

	page_pool = page_pool_create(&params);
	return PTR_ERR_OR_ZERO(page_pool);
}

/* As a NAPI poll function that drops what it got: without a lock, since nobody else allocates. */
static int run_page_pool_direct(unsigned int n)
{
	while (n--) {
		struct page *page = page_pool_dev_alloc_pages(page_pool);

		if (!page)
			return -ENOMEM;
		barrier_data(page);
		page_pool_put_full_page(page_pool, page, true);
	}
	return 0;
}

/* The page comes back from somewhere else, but still in a softirq, which is the cheaper of its two locks. */
static int run_page_pool_ring(unsigned int n)
{
	while (n--) {
		struct page *page = page_pool_dev_alloc_pages(page_pool);

		if (!page)
			return -ENOMEM;
		barrier_data(page);
		page_pool_put_full_page(page_pool, page, false);
	}
	return 0;
}

static void tear_down_page_pool(void)
{
	page_pool_destroy(page_pool);
}

static int run_dma_alloc(unsigned int n)
{
	dma_addr_t dma;

	while (n--) {
		void *page = dma_alloc_coherent(device, bytes, &dma, GFP_ATOMIC);

		if (!page)
			return -ENOMEM;
		barrier_data(page);
		dma_free_coherent(device, bytes, page, dma);
	}
	return 0;
}

static void *mapped;

static int set_up_map(struct device *dev, unsigned int size)
{
	set_up_nothing(dev, size);
	mapped = kmalloc(size, GFP_KERNEL);
	return mapped ? 0 : -ENOMEM;
}

static int run_map(unsigned int n)
{
	while (n--) {
		dma_addr_t dma = dma_map_single(device, mapped, bytes, DMA_FROM_DEVICE);

		if (dma_mapping_error(device, dma))
			return -ENOMEM;
		dma_unmap_single(device, dma, bytes, DMA_FROM_DEVICE);
	}
	return 0;
}

static void tear_down_map(void)
{
	kfree(mapped);
}

#define PEER(name, size, set_up, run, tear_down) \
	{ name, size, set_up_##set_up, run_##run, tear_down_##tear_down }

static const struct mbpool_bench_peer peers[] = {
	/* The first is what is taken off the others. */
	PEER("loop_c", 0, nothing, loop, nothing),
	PEER("dma_pool", 64, dma_pool, dma_pool, dma_pool),
	PEER("dma_pool", 256, dma_pool, dma_pool, dma_pool),
	PEER("dma_pool", 2048, dma_pool, dma_pool, dma_pool),
	PEER("kmem_cache", 64, cache, cache, cache),
	PEER("kmem_cache", 256, cache, cache, cache),
	PEER("kmem_cache", 2048, cache, cache, cache),
	PEER("kmalloc", 256, nothing, kmalloc, nothing),
	PEER("kmalloc", 2048, nothing, kmalloc, nothing),
	PEER("mempool", 256, mempool, mempool, mempool),
	PEER("page_pool_direct", 4096, page_pool, page_pool_direct, page_pool),
	PEER("page_pool_ring", 4096, page_pool, page_pool_ring, page_pool),
	PEER("dma_alloc_coherent", 4096, nothing, dma_alloc, nothing),
	PEER("dma_map_single", 2048, map, map, map),
};

const struct mbpool_bench_peer *mbpool_bench_peer(unsigned int at)
{
	return at < ARRAY_SIZE(peers) ? &peers[at] : NULL;
}

/* Blocks of a dma_pool in the events: sixteen a page. */
#define BLOCK 256
#define BLOCKS_PER_PAGE (PAGE_SIZE / BLOCK)

struct piece {
	void *cpu;
	dma_addr_t dma;
};

static enum mbpool_bench_event event;
static struct piece *pieces;
static unsigned int piece_count, pieces_used;

int mbpool_bench_event_set_up(struct device *dev, enum mbpool_bench_event which, unsigned int count)
{
	int ret = 0;

	device = dev;
	event = which;
	pieces_used = 0;
	piece_count = which == MBPOOL_BENCH_DMA_POOL_GROW ? count * BLOCKS_PER_PAGE : count;
	pieces = kvcalloc(piece_count, sizeof(*pieces), GFP_KERNEL);
	if (!pieces)
		return -ENOMEM;
	if (which == MBPOOL_BENCH_DMA_POOL_GROW || which == MBPOOL_BENCH_DMA_POOL_ALLOC)
		ret = set_up_dma_pool(dev, BLOCK);
	if (ret)
		kvfree(pieces);
	return ret;
}

static struct piece *next_piece(void)
{
	return pieces_used < piece_count ? &pieces[pieces_used++] : NULL;
}

static int use_up_page(void)
{
	unsigned int left;

	for (left = 1; left < BLOCKS_PER_PAGE; left++) {
		struct piece *piece = next_piece();

		if (!piece)
			return -ENOSPC;
		piece->cpu = dma_pool_alloc(dma_pool, GFP_ATOMIC, &piece->dma);
		if (!piece->cpu)
			return -ENOMEM;
	}
	return 0;
}

/* The nanoseconds that one event took, or an error. */
s64 mbpool_bench_event_once(void)
{
	struct piece *piece = next_piece();
	u64 start, end;
	int ret = 0;

	if (!piece)
		return -ENOSPC;
	switch (event) {
	case MBPOOL_BENCH_DMA_ALLOC:
		start = ktime_get_ns();
		piece->cpu = dma_alloc_coherent(device, PAGE_SIZE, &piece->dma, GFP_ATOMIC);
		end = ktime_get_ns();
		break;
	case MBPOOL_BENCH_DMA_POOL_GROW:
		start = ktime_get_ns();
		piece->cpu = dma_pool_alloc(dma_pool, GFP_ATOMIC, &piece->dma);
		end = ktime_get_ns();
		ret = use_up_page();
		break;
	case MBPOOL_BENCH_DMA_POOL_ALLOC:
		/* The first one grows the pool. */
		piece->cpu = dma_pool_alloc(dma_pool, GFP_ATOMIC, &piece->dma);
		if (piece->cpu)
			dma_pool_free(dma_pool, piece->cpu, piece->dma);
		start = ktime_get_ns();
		piece->cpu = dma_pool_alloc(dma_pool, GFP_ATOMIC, &piece->dma);
		end = ktime_get_ns();
		break;
	default:
		start = ktime_get_ns();
		barrier();
		end = ktime_get_ns();
		piece->cpu = ZERO_SIZE_PTR;
		break;
	}
	if (!piece->cpu)
		return -ENOMEM;
	return ret ?: end - start;
}

void mbpool_bench_event_tear_down(void)
{
	bool in_pool = event == MBPOOL_BENCH_DMA_POOL_GROW || event == MBPOOL_BENCH_DMA_POOL_ALLOC;

	while (pieces_used--) {
		struct piece *piece = &pieces[pieces_used];

		if (!piece->cpu)
			continue;
		if (in_pool)
			dma_pool_free(dma_pool, piece->cpu, piece->dma);
		else if (event == MBPOOL_BENCH_DMA_ALLOC)
			dma_free_coherent(device, PAGE_SIZE, piece->cpu, piece->dma);
	}
	if (in_pool)
		tear_down_dma_pool();
	kvfree(pieces);
}

/* Bytes that nobody has. */
unsigned long mbpool_bench_free_memory(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return info.freeram * info.mem_unit;
}

/* As a driver says on its bus: the device reaches all memory. */
int mbpool_bench_set_mask(struct device *dev)
{
	return dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

/* From here to mbpool_bench_unquiet() it is as in a NAPI poll function: no other thread and no softirq here. */
void mbpool_bench_quiet(void)
{
	local_bh_disable();
}

void mbpool_bench_unquiet(void)
{
	local_bh_enable();
}

/*
 * Counts to @n in two instructions a step, to see whether the clock counts instructions. Answers how many
 * those are, or 0 if that is not known of this machine.
 */
unsigned int mbpool_bench_count(unsigned int n)
{
#ifdef __x86_64__
	asm volatile("1: dec %0; jnz 1b" : "+r" (n));
	return 2;
#else
	return 0;
#endif
}
