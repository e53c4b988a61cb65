// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions that the crate calls and neither the kernel crate nor the
 * kernel exports.
 */

#include <linux/dma-mapping.h>
#include <linux/mm.h>

#include "helpers.h"

void *mbpool_page_address(const struct page *page)
{
	return page_address(page);
}

void mbpool_get_page(struct page *page)
{
	get_page(page);
}

int mbpool_page_ref_count(const struct page *page)
{
	return page_ref_count(page);
}

int mbpool_dma_get_cache_alignment(void)
{
	return dma_get_cache_alignment();
}
