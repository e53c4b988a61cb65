/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBNIC_PLAIN_PAGES_H
#define MBNIC_PLAIN_PAGES_H

#include <linux/types.h>

struct device;
struct page;
struct mbnic_plain_source;

/* Where a queue's pages come from; an ERR_PTR() if there is no memory. */
struct mbnic_plain_source *mbnic_plain_source(struct device *dev, unsigned int pages);
void mbnic_plain_source_end(struct mbnic_plain_source *source);

/* A page and its address for the card, or NULL; in softirq. */
struct page *mbnic_plain_page(struct mbnic_plain_source *source, dma_addr_t *dma);
void *mbnic_plain_page_data(struct page *page);
void mbnic_plain_page_sync(struct mbnic_plain_source *source, dma_addr_t dma, size_t len,
			   bool to_device);
void mbnic_plain_page_leave(struct mbnic_plain_source *source, dma_addr_t dma);
void mbnic_plain_page_free(struct mbnic_plain_source *source, struct page *page, dma_addr_t dma);
void mbnic_plain_page_put(struct page *page);

#endif
