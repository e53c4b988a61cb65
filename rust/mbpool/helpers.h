/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBPOOL_HELPERS_H
#define MBPOOL_HELPERS_H

struct page;

void *mbpool_page_address(const struct page *page);
void mbpool_get_page(struct page *page);
int mbpool_page_ref_count(const struct page *page);
int mbpool_dma_get_cache_alignment(void);

#endif
