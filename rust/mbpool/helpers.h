/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBPOOL_HELPERS_H
#define MBPOOL_HELPERS_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct device;
struct page;

void *mbpool_page_address(const struct page *page);
void mbpool_get_page(struct page *page);
void mbpool_put_page(struct page *page);
int mbpool_page_ref_count(const struct page *page);
int mbpool_dma_get_cache_alignment(void);

#if !defined(CONFIG_SMP) && !defined(CONFIG_PREEMPT_RT)
unsigned long mbpool_spin_lock_irqsave(spinlock_t *lock);
void mbpool_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
#endif

#if defined(CONFIG_DEBUG_ATOMIC_SLEEP) || defined(CONFIG_LOCKDEP)
void mbpool_might_alloc(gfp_t gfp);
#endif

bool mbpool_dma_mapping_error(struct device *dev, dma_addr_t addr);
bool mbpool_dma_is_direct(struct device *dev);
bool mbpool_dma_reaches(struct device *dev, struct page *page, size_t size);
bool mbpool_dma_must_bounce(struct device *dev);
bool mbpool_dma_can_bounce(struct device *dev);

#endif
