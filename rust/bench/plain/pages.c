// SPDX-License-Identifier: GPL-2.0
/*
 * Pages for the card as a C driver has them: from the page allocator, mapped before the card gets one and
 * unmapped before the stack does; or from a page_pool, where they stay mapped and come back from the stack.
 */

#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/page_pool/helpers.h>

#include "../../../samples/mbnic/net/helpers.h"
#include "pages.h"

static bool page_pool;
module_param(page_pool, bool, 0444);
MODULE_PARM_DESC(page_pool, "With zerocopy: pages are of a page_pool");

/* The driver's own, but that the stack is told when a page is to go back to its page_pool. */
static void mbnic_skb_add_page(struct sk_buff *skb, struct page *page, int off, int size);
#define mbnic_skb_add_rx_frag mbnic_skb_add_page
#include "../../../samples/mbnic/net/helpers.c"
#undef mbnic_skb_add_rx_frag

void mbnic_skb_add_rx_frag(struct sk_buff *skb, struct page *page, int off, int size)
{
	mbnic_skb_add_page(skb, page, off, size);
	if (page_pool)
		skb_mark_for_recycle(skb);
}

struct mbnic_plain_source {
	struct device *dev;
	struct page_pool *pool;
};

struct mbnic_plain_source *mbnic_plain_source(struct device *dev, unsigned int pages)
{
	struct mbnic_plain_source *source = kzalloc(sizeof(*source), GFP_KERNEL);
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP,
		.pool_size = pages,
		.nid = NUMA_NO_NODE,
		.dev = dev,
		.dma_dir = DMA_FROM_DEVICE,
	};

	if (!source)
		return ERR_PTR(-ENOMEM);
	source->dev = dev;
	if (page_pool) {
		/*
		 * Of one processor all softirqs are those of the queue: pages come back without a lock, as to a
		 * page_pool that knows its NAPI context.
		 */
		source->pool = page_pool_create_percpu(&params, num_possible_cpus() == 1 ? 0 : -1);
		if (IS_ERR(source->pool)) {
			struct mbnic_plain_source *error = ERR_CAST(source->pool);

			kfree(source);
			return error;
		}
	}
	return source;
}

void mbnic_plain_source_end(struct mbnic_plain_source *source)
{
	if (source->pool)
		page_pool_destroy(source->pool);
	kfree(source);
}

struct page *mbnic_plain_page(struct mbnic_plain_source *source, dma_addr_t *dma)
{
	struct page *page;

	if (source->pool) {
		page = page_pool_dev_alloc_pages(source->pool);
		if (page)
			*dma = page_pool_get_dma_addr(page);
		return page;
	}
	page = dev_alloc_page();
	if (!page)
		return NULL;
	*dma = dma_map_page(source->dev, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
	if (!dma_mapping_error(source->dev, *dma))
		return page;
	__free_page(page);
	return NULL;
}

void *mbnic_plain_page_data(struct page *page)
{
	return page_address(page);
}

void mbnic_plain_page_sync(struct mbnic_plain_source *source, dma_addr_t dma, size_t len,
			   bool to_device)
{
	if (to_device)
		dma_sync_single_for_device(source->dev, dma, len, DMA_FROM_DEVICE);
	else
		dma_sync_single_for_cpu(source->dev, dma, len, DMA_FROM_DEVICE);
}

/* What the card wrote was synced. */
void mbnic_plain_page_leave(struct mbnic_plain_source *source, dma_addr_t dma)
{
	if (!source->pool)
		dma_unmap_page_attrs(source->dev, dma, PAGE_SIZE, DMA_FROM_DEVICE,
				     DMA_ATTR_SKIP_CPU_SYNC);
}

void mbnic_plain_page_free(struct mbnic_plain_source *source, struct page *page, dma_addr_t dma)
{
	if (source->pool) {
		page_pool_put_full_page(source->pool, page, false);
		return;
	}
	mbnic_plain_page_leave(source, dma);
	__free_page(page);
}

void mbnic_plain_page_put(struct page *page)
{
	put_page(page);
}
