// SPDX-License-Identifier: GPL-2.0
/*
 * What the planted faults need of C: an array, and an interrupt.
 */

#include <linux/irq_work.h>
#include <linux/smp.h>
#include <linux/types.h>

#include "faults.h"

static u32 table[8];

u32 mbpool_planted_entry(unsigned int index)
{
	return READ_ONCE(table[index]);
}

struct from_irq {
	struct irq_work work;
	void (*func)(void *arg);
	void *arg;
};

static void irq_work_runs(struct irq_work *work)
{
	struct from_irq *from = container_of(work, struct from_irq, work);

	from->func(from->arg);
}

/* Runs a function in an interrupt that this CPU sends itself, and waits for it. */
void mbpool_planted_in_hardirq(void (*func)(void *arg), void *arg)
{
	struct from_irq from = {
		.work = IRQ_WORK_INIT(irq_work_runs),
		.func = func,
		.arg = arg,
	};

	irq_work_queue(&from.work);
	irq_work_sync(&from.work);
}

/* Runs a function on all CPUs at once, with interrupts off. */
void mbpool_planted_on_each_cpu(void (*func)(void *arg), void *arg)
{
	on_each_cpu(func, arg, true);
}
