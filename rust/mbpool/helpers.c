// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions that the crate calls and neither the kernel crate nor the
 * kernel exports.
 */

#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/iommu-dma.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/swiotlb.h>

#include "helpers.h"

void *mbpool_page_address(const struct page *page)
{
	return page_address(page);
}

void mbpool_get_page(struct page *page)
{
	get_page(page);
}

void mbpool_put_page(struct page *page)
{
	put_page(page);
}

int mbpool_page_ref_count(const struct page *page)
{
	return page_ref_count(page);
}

/* The lock is inlined into who uses the crate. */
#if !defined(CONFIG_SMP) && !defined(CONFIG_PREEMPT_RT)
unsigned long mbpool_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}
EXPORT_SYMBOL_GPL(mbpool_spin_lock_irqsave);

void mbpool_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}
EXPORT_SYMBOL_GPL(mbpool_spin_unlock_irqrestore);
#endif

/* So is this, on a kernel with which it is something. */
#if defined(CONFIG_DEBUG_ATOMIC_SLEEP) || defined(CONFIG_LOCKDEP)
void mbpool_might_alloc(gfp_t gfp)
{
	might_alloc(gfp);
}
EXPORT_SYMBOL_GPL(mbpool_might_alloc);
#endif

int mbpool_dma_get_cache_alignment(void)
{
	return dma_get_cache_alignment();
}

/* For the DMA API's own checks, which note that somebody asked. */
bool mbpool_dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr) != 0;
}

/*
 * dma_map_page() warns with a backtrace when a page cannot be mapped for a
 * device, and the DMA API has no question to ask before. What follows asks, in
 * the terms of dma_direct_map_phys().
 */

static bool within_reach(struct device *dev, phys_addr_t start, size_t size)
{
	dma_addr_t first = phys_to_dma(dev, start);
	dma_addr_t last = first + size - 1;

	return last >= first &&
	       last <= min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

bool mbpool_dma_is_direct(struct device *dev)
{
	return !use_dma_iommu(dev) && !get_dma_ops(dev);
}

bool mbpool_dma_reaches(struct device *dev, struct page *page, size_t size)
{
	return within_reach(dev, page_to_phys(page), size);
}

bool mbpool_dma_must_bounce(struct device *dev)
{
	return is_swiotlb_force_bounce(dev);
}

bool mbpool_dma_can_bounce(struct device *dev)
{
#ifdef CONFIG_SWIOTLB
	const struct io_tlb_mem *mem = dev->dma_io_tlb_mem;

	return mem && mem->nslabs &&
	       within_reach(dev, mem->defpool.start,
			    mem->defpool.end - mem->defpool.start);
#else
	return false;
#endif
}
