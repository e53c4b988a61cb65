// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a test's function in each of the contexts that a driver's code runs in, and waits until it is
 * done. In C, because most of what it takes are macros and inline functions.
 */

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "contexts.h"

/* What runs now, told by the kernel and not by who asked for it. */
enum mbpool_test_context mbpool_test_context(void)
{
	if (in_hardirq())
		return MBPOOL_TEST_HARDIRQ;
	if (in_serving_softirq())
		return MBPOOL_TEST_SOFTIRQ;
	return MBPOOL_TEST_PROCESS;
}

struct from_timer {
	struct timer_list timer;
	struct completion done;
	void (*func)(void *arg);
	void *arg;
};

static void timer_expired(struct timer_list *timer)
{
	struct from_timer *from = container_of(timer, struct from_timer, timer);

	from->func(from->arg);
	complete(&from->done);
}

/* From a timer, which expires in the softirq. */
int mbpool_test_in_softirq(void (*func)(void *), void *arg)
{
	struct from_timer from = { .func = func, .arg = arg };

	init_completion(&from.done);
	timer_setup_on_stack(&from.timer, timer_expired, 0);
	mod_timer(&from.timer, jiffies);
	wait_for_completion(&from.done);
	timer_delete_sync(&from.timer);
	timer_destroy_on_stack(&from.timer);
	return 0;
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

/*
 * From an interrupt that this CPU sends itself. Not a "hard" one, which would go on as such with
 * PREEMPT_RT: there a driver's handlers are threads, and no lock of a pool is for anything else.
 */
int mbpool_test_in_hardirq(void (*func)(void *), void *arg)
{
	struct from_irq from = {
		.work = IRQ_WORK_INIT(irq_work_runs),
		.func = func,
		.arg = arg,
	};

	if (!irq_work_queue(&from.work))
		return -EBUSY;
	irq_work_sync(&from.work);
	return 0;
}

static long hardirq_here(void *data)
{
	struct from_irq *from = data;

	return mbpool_test_in_hardirq(from->func, from->arg);
}

/* From an interrupt on another CPU. -ENODEV if there is no other. */
int mbpool_test_in_hardirq_elsewhere(void (*func)(void *), void *arg)
{
	struct from_irq from = { .func = func, .arg = arg };
	unsigned int other;
	int ret = -ENODEV;

	cpus_read_lock();
	/* Stay here, or the other one may be this one by then. */
	migrate_disable();
	other = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (other < nr_cpu_ids)
		ret = work_on_cpu(other, hardirq_here, &from);
	migrate_enable();
	cpus_read_unlock();
	return ret;
}

struct ticker {
	struct hrtimer timer;
	ktime_t period;
	void (*func)(void *arg);
	void *arg;
};

static enum hrtimer_restart ticker_expired(struct hrtimer *timer)
{
	struct ticker *ticker = container_of(timer, struct ticker, timer);

	ticker->func(ticker->arg);
	hrtimer_forward_now(timer, ticker->period);
	return HRTIMER_RESTART;
}

/*
 * Runs func each so many microseconds, in an interrupt (with PREEMPT_RT, where a driver's is a thread, in the softirq)
 * or in the softirq, until meanwhile has returned.
 */
void mbpool_test_ticking(void (*func)(void *), void *arg, unsigned int period_us, bool soft,
			 void (*meanwhile)(void *), void *data)
{
	enum hrtimer_mode mode = soft ? HRTIMER_MODE_REL_SOFT : HRTIMER_MODE_REL;
	struct ticker ticker = { .period = us_to_ktime(period_us), .func = func, .arg = arg };

	hrtimer_setup_on_stack(&ticker.timer, ticker_expired, CLOCK_MONOTONIC, mode);
	hrtimer_start(&ticker.timer, ticker.period, mode);
	meanwhile(data);
	hrtimer_cancel(&ticker.timer);
	destroy_hrtimer_on_stack(&ticker.timer);
}

struct on_each {
	void (*func)(void *arg, unsigned int number);
	void *arg;
	atomic_t numbers;
	atomic_t missing;
	atomic_t running;
	struct completion done;
};

static int worker(void *data)
{
	struct on_each *each = data;
	unsigned int number = atomic_inc_return(&each->numbers) - 1;

	/* On a CPU each, all begin at once: a wakeup from sleep would spread them. */
	atomic_dec(&each->missing);
	while (atomic_read(&each->missing) > 0)
		cpu_relax();

	each->func(each->arg, number);
	if (atomic_dec_and_test(&each->running))
		complete(&each->done);
	return 0;
}

/*
 * Runs so many threads, on a CPU each or wherever, and meanwhile here, if there is that; then waits for them. Answers
 * their number, or an error.
 */
static int run_all(struct on_each *each, unsigned int count, bool pinned,
		   void (*meanwhile)(void *), void *data)
{
	unsigned int cpu = cpumask_first(cpu_online_mask), made, at;
	struct task_struct **threads;
	int ret;

	init_completion(&each->done);
	atomic_set(&each->missing, pinned ? count : 0);
	atomic_set(&each->running, count);

	threads = kcalloc(count, sizeof(*threads), GFP_KERNEL);
	if (!threads)
		return -ENOMEM;
	for (made = 0; made < count; made++) {
		struct task_struct *thread;

		if (pinned)
			thread = kthread_create_on_cpu(worker, each, cpu, "mbpool_test/%u");
		else
			thread = kthread_create(worker, each, "mbpool_test:%u", made);
		if (IS_ERR(thread)) {
			ret = PTR_ERR(thread);
			goto stop;
		}
		threads[made] = get_task_struct(thread);
		cpu = cpumask_next(cpu, cpu_online_mask);
	}
	for (at = 0; at < made; at++)
		wake_up_process(threads[at]);
	if (meanwhile)
		meanwhile(data);
	wait_for_completion(&each->done);
	ret = made;
stop:
	/* Of a thread that was never woken, the function does not run; of one that was, it has. */
	while (made--)
		kthread_stop_put(threads[made]);
	kfree(threads);
	return ret;
}

/*
 * In a thread on each CPU, all at once; each is told its number. Answers how many there were, or an error.
 */
int mbpool_test_on_each_cpu(void (*func)(void *, unsigned int), void *arg)
{
	struct on_each each = { .func = func, .arg = arg };
	int ret;

	cpus_read_lock();
	ret = run_all(&each, num_online_cpus(), true, NULL, NULL);
	cpus_read_unlock();
	return ret;
}

/*
 * In so many threads, on whatever CPUs, which may come and go; each is told its number. Meanwhile runs here what is to
 * run meanwhile, or nothing. Answers how many there were, or an error, and then meanwhile was not run.
 */
int mbpool_test_in_threads(void (*func)(void *, unsigned int), void *arg, unsigned int count,
			   void (*meanwhile)(void *), void *data)
{
	struct on_each each = { .func = func, .arg = arg };

	return run_all(&each, count, false, meanwhile, data);
}
