/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBPOOL_BENCH_PEERS_H
#define MBPOOL_BENCH_PEERS_H

#include <linux/types.h>

struct device;

/*
 * An allocator of the kernel's. After @set_up, @run allocates and frees @n times and answers 0, or an error
 * if it could not.
 */
struct mbpool_bench_peer {
	const char *name;
	unsigned int size;
	int (*set_up)(struct device *dev, unsigned int size);
	int (*run)(unsigned int n);
	void (*tear_down)(void);
};

/* The peers one by one, NULL after the last. */
const struct mbpool_bench_peer *mbpool_bench_peer(unsigned int at);

/* How a peer's pool grows by a page, one page at a time. */
enum mbpool_bench_event {
	MBPOOL_BENCH_NOTHING,		/* what reading the clock costs */
	MBPOOL_BENCH_DMA_ALLOC,		/* dma_alloc_coherent() of a page */
	MBPOOL_BENCH_DMA_POOL_GROW,	/* dma_pool_alloc() that takes a page */
	MBPOOL_BENCH_DMA_POOL_ALLOC,	/* dma_pool_alloc() that need not */
};

int mbpool_bench_event_set_up(struct device *dev, enum mbpool_bench_event event, unsigned int count);
s64 mbpool_bench_event_once(void);
void mbpool_bench_event_tear_down(void);

/* Runs on several CPUs at once: which of them, how many times. Answers 0 or an error. */
typedef int mbpool_bench_func(void *arg, unsigned int number, unsigned int n);

s64 mbpool_bench_on_cpus(unsigned int cpus, mbpool_bench_func *func, void *arg, unsigned int n);

/* Peers that several CPUs can use. */
enum mbpool_bench_rival {
	MBPOOL_BENCH_DMA_POOL,
	MBPOOL_BENCH_KMEM_CACHE,
	MBPOOL_BENCH_PAGE_POOL,
};

/* @arg points to an enum mbpool_bench_rival. */
mbpool_bench_func mbpool_bench_rival_pairs, mbpool_bench_rival_belt;
int mbpool_bench_rivals_set_up(struct device *dev);
void mbpool_bench_rivals_tear_down(void);

unsigned long mbpool_bench_free_memory(void);
int mbpool_bench_set_mask(struct device *dev);
void mbpool_bench_quiet(void);
void mbpool_bench_unquiet(void);
unsigned int mbpool_bench_count(unsigned int n);

#endif
