/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MBPOOL_PLANTED_FAULTS_H
#define MBPOOL_PLANTED_FAULTS_H

#include <linux/types.h>

u32 mbpool_planted_entry(unsigned int index);
void mbpool_planted_in_hardirq(void (*func)(void *arg), void *arg);
void mbpool_planted_on_each_cpu(void (*func)(void *arg), void *arg);

#endif
