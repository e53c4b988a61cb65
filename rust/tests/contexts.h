/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBPOOL_TEST_CONTEXTS_H
#define MBPOOL_TEST_CONTEXTS_H

#include <linux/types.h>

enum mbpool_test_context {
	MBPOOL_TEST_PROCESS,
	MBPOOL_TEST_SOFTIRQ,
	MBPOOL_TEST_HARDIRQ,
};

enum mbpool_test_context mbpool_test_context(void);
int mbpool_test_in_softirq(void (*func)(void *), void *arg);
int mbpool_test_in_hardirq(void (*func)(void *), void *arg);
int mbpool_test_in_hardirq_elsewhere(void (*func)(void *), void *arg);
int mbpool_test_on_each_cpu(void (*func)(void *, unsigned int), void *arg);
int mbpool_test_in_threads(void (*func)(void *, unsigned int), void *arg, unsigned int count,
			   void (*meanwhile)(void *), void *data);
void mbpool_test_ticking(void (*func)(void *), void *arg, unsigned int period_us, bool soft,
			 void (*meanwhile)(void *), void *data);

#endif
