// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a function on some CPUs at once, in the kernel's workers, and the peers on several CPUs: each
 * allocates and frees on its own, or one allocates and the next one frees.
 */

#include <linux/atomic.h>
#include <linux/bottom_half.h>
#include <linux/cpu.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>
#include <net/page_pool/helpers.h>

#include "peers.h"

struct gathering {
	mbpool_bench_func *func;
	void *arg;
	unsigned int n;
	atomic_t missing;
};

struct place {
	struct work_struct work;
	struct gathering *all;
	unsigned int number;
	u64 start, end;
	int error;
};

static void work_runs(struct work_struct *work)
{
	struct place *place = container_of(work, struct place, work);
	struct gathering *all = place->all;

	/* All begin at once. */
	atomic_dec(&all->missing);
	while (atomic_read(&all->missing))
		cpu_relax();
	place->start = ktime_get_ns();
	place->error = all->func(all->arg, place->number, all->n);
	place->end = ktime_get_ns();
}

/*
 * @func runs on the first @cpus CPUs, and answers 0 or an error. Answers the nanoseconds from when the first
 * began to when the last was done, so that one which did not run beside the other is not taken for quick; or
 * an error. -ENODEV: there are not so many CPUs.
 */
s64 mbpool_bench_on_cpus(unsigned int cpus, mbpool_bench_func *func, void *arg, unsigned int n)
{
	struct gathering all = { .func = func, .arg = arg, .n = n, .missing = ATOMIC_INIT(cpus) };
	u64 start = U64_MAX, end = 0;
	unsigned int cpu, at = 0;
	struct place *places;
	int error = 0;

	places = kcalloc(cpus, sizeof(*places), GFP_KERNEL);
	if (!places)
		return -ENOMEM;
	cpus_read_lock();
	if (num_online_cpus() < cpus) {
		error = -ENODEV;
		goto out;
	}
	for_each_online_cpu(cpu) {
		struct place *place = &places[at];

		place->all = &all;
		place->number = at;
		INIT_WORK(&place->work, work_runs);
		queue_work_on(cpu, system_highpri_wq, &place->work);
		if (++at == cpus)
			break;
	}
	while (at--) {
		struct place *place = &places[at];

		flush_work(&place->work);
		error = error ?: place->error;
		start = min(start, place->start);
		end = max(end, place->end);
	}
out:
	cpus_read_unlock();
	kfree(places);
	return error ?: (s64)(end - start);
}

/* Softirqs are off for so many pairs at once, as in a poll function. */
#define BUDGET 64

/* What both sides of a pair share. */
struct contest {
	struct dma_pool *dma_pool;
	struct kmem_cache *cache;
	/* One a CPU, as a driver has one for each queue. */
	struct page_pool *page_pools[2];
	/* What the one side has allocated, and the other has not freed yet. */
	void *belt[64];
	dma_addr_t dma[64];
};

static struct contest contest;

static void *get(enum mbpool_bench_rival rival, unsigned int number, dma_addr_t *dma)
{
	switch (rival) {
	case MBPOOL_BENCH_DMA_POOL:
		return dma_pool_alloc(contest.dma_pool, GFP_ATOMIC, dma);
	case MBPOOL_BENCH_KMEM_CACHE:
		return kmem_cache_alloc(contest.cache, GFP_ATOMIC);
	default:
		return page_pool_dev_alloc_pages(contest.page_pools[number]);
	}
}

static void put(enum mbpool_bench_rival rival, unsigned int number, void *memory, dma_addr_t dma)
{
	switch (rival) {
	case MBPOOL_BENCH_DMA_POOL:
		dma_pool_free(contest.dma_pool, memory, dma);
		break;
	case MBPOOL_BENCH_KMEM_CACHE:
		kmem_cache_free(contest.cache, memory);
		break;
	default:
		page_pool_put_full_page(contest.page_pools[number], memory, false);
		break;
	}
}

/* Each CPU allocates and frees. */
int mbpool_bench_rival_pairs(void *arg, unsigned int number, unsigned int n)
{
	enum mbpool_bench_rival rival = *(enum mbpool_bench_rival *)arg;

	while (n--) {
		dma_addr_t dma = 0;
		void *memory;

		if (n % BUDGET == BUDGET - 1)
			local_bh_disable();
		memory = get(rival, number, &dma);
		if (memory)
			put(rival, number, memory, dma);
		if (n % BUDGET == 0)
			local_bh_enable();
		if (!memory)
			return -ENOMEM;
	}
	return 0;
}

/* The first CPU allocates, the second frees. */
int mbpool_bench_rival_belt(void *arg, unsigned int number, unsigned int n)
{
	enum mbpool_bench_rival rival = *(enum mbpool_bench_rival *)arg;
	unsigned int at;

	for (at = 0; at < n; at++) {
		void **slot = &contest.belt[at % ARRAY_SIZE(contest.belt)];
		dma_addr_t *dma = &contest.dma[at % ARRAY_SIZE(contest.dma)];
		void *memory;

		if (number == 0) {
			/* Pairs with the release of the other side below. */
			while (smp_load_acquire(slot))
				cpu_relax();
			local_bh_disable();
			memory = get(rival, 0, dma);
			local_bh_enable();
			/* The other side goes on without it. */
			smp_store_release(slot, memory ?: ERR_PTR(-ENOMEM));
		} else {
			do {
				/* Pairs with the release above, after which dma is there. */
				memory = smp_load_acquire(slot);
				cpu_relax();
			} while (!memory);
			if (!IS_ERR(memory)) {
				local_bh_disable();
				put(rival, 0, memory, *dma);
				local_bh_enable();
			}
			/* Pairs with the acquire above: dma may be written again. */
			smp_store_release(slot, NULL);
		}
	}
	return 0;
}

int mbpool_bench_rivals_set_up(struct device *dev)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP,
		.pool_size = 256,
		.nid = NUMA_NO_NODE,
		.dev = dev,
		.dma_dir = DMA_FROM_DEVICE,
	};
	unsigned int at;

	memset(&contest, 0, sizeof(contest));
	contest.dma_pool = dma_pool_create("mbpool_bench", dev, 2048, 8, 0);
	contest.cache = kmem_cache_create("mbpool_bench", 2048, 8, SLAB_NO_MERGE, NULL);
	if (!contest.dma_pool || !contest.cache)
		goto fail;
	for (at = 0; at < ARRAY_SIZE(contest.page_pools); at++) {
		struct page_pool *page_pool = page_pool_create(&params);

		if (IS_ERR(page_pool))
			goto fail;
		contest.page_pools[at] = page_pool;
	}
	return 0;
fail:
	mbpool_bench_rivals_tear_down();
	return -ENOMEM;
}

void mbpool_bench_rivals_tear_down(void)
{
	unsigned int at;

	for (at = 0; at < ARRAY_SIZE(contest.page_pools); at++)
		page_pool_destroy(contest.page_pools[at]);
	kmem_cache_destroy(contest.cache);
	dma_pool_destroy(contest.dma_pool);
}
